//! Reading frames, from any thread.
//!
//! Readers hold the state's lock for reading while they read files, so that a repair (which
//! changes bytes in place) never shows half of itself. A bad frame in a place not known to be
//! damaged makes the whole segment be examined once, under the write lock.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::frame::{
    FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, offset_of, position, segment_of,
};
use super::walk::{Step, Walk};
use super::{Damage, DamageKind, JournalSizes, JournalState, segment_name};
use crate::storage::disk::{Disk, DiskFile};
use branchline_crdt::store::{Position, StoreError};

/// Open files kept at hand: a journal may have thousands of segments, a process often only 1,024
/// file descriptors.
const OPEN_FILES_MAX: usize = 32;
/// First read of a single frame: most frames fit, so that one call fetches header and bytes.
const READ_AHEAD_BYTES: usize = 4096;
/// How much a walk reads at a time: sequential speed without much memory.
pub(super) const WALK_CHUNK_BYTES: u32 = 1 << 20;

/// What the journal's ends share.
pub(super) struct JournalShared {
    disk: Arc<dyn Disk>,
    state: RwLock<JournalState>,
    /// Open files, the latest used last; at most [`OPEN_FILES_MAX`].
    files: Mutex<Vec<(u32, Arc<dyn DiskFile>)>>,
}

/// The read end of the journal: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<JournalShared>,
}

/// What [`JournalReader::verify_all`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalVerified {
    /// Sound frames read.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Where damaged stretches begin.
    pub damaged: Vec<Position>,
}

impl JournalShared {
    pub(super) fn new(disk: Arc<dyn Disk>, state: JournalState) -> Self {
        Self { disk, state: RwLock::new(state), files: Mutex::new(Vec::new()) }
    }

    // A thread that panicked while holding a lock left the maps whole: each change is one call.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, JournalState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, JournalState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Vec<(u32, Arc<dyn DiskFile>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a file at hand, in place of an older one of that number.
    pub(super) fn keep_file(&self, number: u32, file: Arc<dyn DiskFile>) {
        let mut files = self.files();
        files.retain(|(n, _)| *n != number);
        if files.len() >= OPEN_FILES_MAX {
            files.remove(0);
        }
        files.push((number, file));
    }

    /// The file of segment `number`.
    pub(super) fn file(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some((_, file)) = self.files().iter().find(|(n, _)| *n == number) {
            return Ok(file.clone());
        }
        let file = self.disk.open(&segment_name(number))?;
        self.keep_file(number, file.clone());
        Ok(file)
    }

    /// Reads all of segment `number` and sets down again what is damaged in it.
    fn examine(&self, number: u32) -> io::Result<()> {
        let mut state = self.state_mut();
        let Some(&end) = state.segments.get(&number) else {
            return Ok(());
        };
        let mut walk = Walk::new(self.file(number)?, number, 0, end, WALK_CHUNK_BYTES);
        let mut found = Vec::new();
        while let Some(step) = walk.next()? {
            match step {
                Step::Frame { .. } => {}
                Step::Bad { at, end, kind, .. } => {
                    found.push((position(number, at), Damage { end, kind }));
                }
            }
        }
        state.damaged.retain(|at, _| segment_of(*at) != number);
        for (at, damage) in found {
            tracing::warn!(position = at.0, reason = %damage.kind, "journal frame is damaged");
            state.damaged.insert(at, damage);
        }
        Ok(())
    }
}

impl JournalState {
    /// The damaged stretch that `at` lies in.
    pub(super) fn damage_around(&self, at: Position) -> Option<(Position, Damage)> {
        let (start, damage) = self.damaged.range(..=at).next_back()?;
        let inside = segment_of(*start) == segment_of(at) && offset_of(at) < damage.end;
        inside.then_some((*start, *damage))
    }

    fn refuse_damaged(&self, at: Position) -> Result<(), StoreError> {
        match self.damage_around(at) {
            Some((_, damage)) => {
                Err(StoreError::Damaged { position: at, reason: damage.kind.to_string() })
            }
            None => Ok(()),
        }
    }
}

/// The journal ends here (or has a gap): no such frame.
fn no_frame(at: Position) -> StoreError {
    let text = format!("no frame begins at byte {} of segment {}", offset_of(at), segment_of(at));
    StoreError::Unreadable { source: io::Error::new(io::ErrorKind::NotFound, text) }
}

fn unreadable(source: io::Error) -> StoreError {
    StoreError::Unreadable { source }
}

impl JournalReader {
    pub(super) fn new(shared: JournalShared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn shared(&self) -> &JournalShared {
        &self.shared
    }

    /// One frame.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its bytes are not the ones written; [`StoreError::Unreadable`]
    /// if the disk fails, or (kind `NotFound`) no frame begins there.
    pub fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        if let Some(frame) = self.read_sound(at)? {
            return Ok(frame);
        }
        self.shared.examine(segment_of(at)).map_err(unreadable)?;
        self.read_sound(at)?.ok_or_else(|| no_frame(at))
    }

    /// One frame, or `None` if there is no sound frame in a place not known to be damaged.
    fn read_sound(&self, at: Position) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.shared.state();
        state.refuse_damaged(at)?;
        let (number, offset) = (segment_of(at), offset_of(at));
        let newest = state.segments.keys().next_back();
        if newest.is_some_and(|newest| number < *newest) && !state.segments.contains_key(&number) {
            let reason = DamageKind::SegmentMissing.to_string();
            return Err(StoreError::Damaged { position: at, reason });
        }
        let end = state.segments.get(&number).copied().unwrap_or(0);
        if offset < SEGMENT_HEADER_BYTES || offset >= end {
            return Err(no_frame(at));
        }
        let room = (end - offset) as usize;
        let file = self.shared.file(number).map_err(unreadable)?;
        let mut bytes = vec![0; READ_AHEAD_BYTES.min(room)];
        let got = file.read_at(u64::from(offset), &mut bytes).map_err(unreadable)?;
        bytes.truncate(got);
        let Some(header) = FrameHeader::decode(at, &bytes) else {
            return Ok(None);
        };
        let whole = FRAME_HEADER_BYTES as usize + header.len as usize;
        if whole > room {
            return Ok(None);
        }
        let had = bytes.len();
        bytes.resize(whole, 0);
        if had < whole {
            let rest = &mut bytes[had..];
            let got = file.read_at(u64::from(offset) + had as u64, rest).map_err(unreadable)?;
            bytes.truncate(had + got);
        }
        bytes.drain(..FRAME_HEADER_BYTES as usize);
        Ok(header.matches(&bytes).then_some(bytes))
    }

    /// Sound frames strictly after `after` (`None`: from the first), in order: at least one if
    /// there is one, then as many as keep their sum within `bytes_max`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where the disk fails.
    pub fn scan(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        let mut page = Page { frames: Vec::new(), bytes: 0, bytes_max };
        let mut from = match after {
            Some(after) => self.place_behind(after)?,
            None => position(0, 0),
        };
        let mut examined = None;
        loop {
            match self.fill(&mut page, from, after).map_err(unreadable)? {
                Filled::Done => return Ok(page.frames),
                Filled::Doubt(at) if examined == Some(segment_of(at)) => {
                    // It was sound when examined, and is not now: the disk cannot make up its
                    // mind. Better an error than a frame left out unseen.
                    self.read(at)?;
                    from = at;
                }
                Filled::Doubt(at) => {
                    self.shared.examine(segment_of(at)).map_err(unreadable)?;
                    examined = Some(segment_of(at));
                    from = at;
                }
            }
        }
    }

    /// Where the frame after the one at `after` begins, or some frame's begin before that.
    fn place_behind(&self, after: Position) -> Result<Position, StoreError> {
        let state = self.shared.state();
        let number = segment_of(after);
        if let Some((_, damage)) = state.damage_around(after) {
            return Ok(position(number, damage.end));
        }
        if !state.segments.contains_key(&number) {
            return Ok(position(number, 0));
        }
        let file = self.shared.file(number).map_err(unreadable)?;
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        let got = file.read_at(u64::from(offset_of(after)), &mut bytes).map_err(unreadable)?;
        Ok(match FrameHeader::decode(after, &bytes[..got]) {
            Some(header) => {
                let whole = FRAME_HEADER_BYTES + header.len;
                position(number, offset_of(after).saturating_add(whole))
            }
            None => position(number, 0),
        })
    }

    /// Adds frames from `from` on to the page, until it is full, the journal ends or a bad frame
    /// appears that is not known.
    fn fill(&self, page: &mut Page, from: Position, after: Option<Position>) -> io::Result<Filled> {
        let state = self.shared.state();
        let chunk = page.bytes_max.clamp(READ_AHEAD_BYTES, WALK_CHUNK_BYTES as usize) as u32;
        for (&number, &end) in state.segments.range(segment_of(from)..) {
            let offset = if number == segment_of(from) { offset_of(from) } else { 0 };
            if offset >= end {
                continue;
            }
            let mut walk = Walk::new(self.shared.file(number)?, number, offset, end, chunk);
            loop {
                let here = position(number, walk.offset());
                if let Some(damage) = state.damaged.get(&here) {
                    walk.skip_to(damage.end);
                    continue;
                }
                match walk.next()? {
                    None => break,
                    Some(Step::Bad { .. }) => return Ok(Filled::Doubt(here)),
                    Some(Step::Frame { bytes, .. }) => {
                        if after.is_none_or(|after| here > after) && !page.take(here, bytes) {
                            return Ok(Filled::Done);
                        }
                    }
                }
            }
        }
        Ok(Filled::Done)
    }

    /// Where the journal ends: greater than the position of every frame. `None` if it is empty.
    pub fn end(&self) -> Option<Position> {
        let state = self.shared.state();
        state.segments.iter().next_back().map(|(number, end)| position(*number, *end))
    }

    /// True if the journal holds no frame, sound or damaged.
    pub fn is_empty(&self) -> bool {
        let state = self.shared.state();
        state.damaged.is_empty() && state.segments.values().all(|&end| end <= SEGMENT_HEADER_BYTES)
    }

    /// Where the stretches known to be damaged begin.
    pub fn damaged(&self) -> Vec<Position> {
        self.shared.state().damaged.keys().copied().collect()
    }

    /// Bytes behind the frame at `at`, up to the end. `None`: behind nothing.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where the disk fails.
    pub fn bytes_behind(&self, at: Option<Position>) -> Result<u64, StoreError> {
        let from = at.map(|at| self.place_behind(at)).transpose()?;
        let (first, offset) = from.map_or((0, 0), |from| (segment_of(from), offset_of(from)));
        let state = self.shared.state();
        let bytes = |(number, end): (&u32, &u32)| {
            let before = if *number == first { offset } else { 0 };
            u64::from(end.saturating_sub(before))
        };
        Ok(state.segments.range(first..).map(bytes).sum())
    }

    /// Sizes, without touching the disk.
    pub fn sizes(&self) -> JournalSizes {
        let state = self.shared.state();
        JournalSizes {
            bytes: state.segments.values().map(|&end| u64::from(end)).sum(),
            segments: state.segments.len() as u64,
        }
    }

    /// Reads every frame. `progress` is given the bytes read so far and those in all.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where the disk fails. Damage is no error: the report counts it.
    pub fn verify_all(
        &self,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<JournalVerified, StoreError> {
        let mut verified = JournalVerified::default();
        let mut after = None;
        loop {
            let frames = self.scan(after, WALK_CHUNK_BYTES as usize)?;
            let Some((last, _)) = frames.last() else {
                break;
            };
            after = Some(*last);
            for (_, frame) in &frames {
                verified.frames += 1;
                verified.bytes += frame.len() as u64;
            }
            let headers = verified.frames * u64::from(FRAME_HEADER_BYTES);
            progress(verified.bytes + headers, self.sizes().bytes);
        }
        verified.damaged = self.damaged();
        Ok(verified)
    }
}

/// Frames found so far.
struct Page {
    frames: Vec<(Position, Vec<u8>)>,
    bytes: usize,
    bytes_max: usize,
}

impl Page {
    /// Takes the frame unless the page is full.
    fn take(&mut self, at: Position, frame: &[u8]) -> bool {
        let bytes = self.bytes.saturating_add(frame.len());
        let fits = self.frames.is_empty() || bytes <= self.bytes_max;
        if fits {
            self.frames.push((at, frame.to_vec()));
            self.bytes = bytes;
        }
        fits
    }
}

enum Filled {
    /// The page is full or the journal has ended.
    Done,
    /// There is a bad frame that is not known to be damaged.
    Doubt(Position),
}
