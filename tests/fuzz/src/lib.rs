//! What every fuzz target does: it runs its decoder on the input, and counts memory.

pub use branchline_decoders::target;
pub use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The fuzz target of the decoder of that name.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        $crate::fuzz_target!(init: {
            // What is made once for all inputs counts for none.
            let target = $crate::target($name);
            for seed in (target.seeds)() {
                (target.run)(&seed);
            }
        }, |input: &[u8]| {
            $crate::target($name).check(input);
        });
    };
}
