//! Whether a bridge can work on the file.

use super::SqliteDatabase;
use crate::sql::database::DbError;

impl SqliteDatabase {
    pub(super) async fn judge_file(&mut self) -> Result<(Vec<String>, Vec<String>), DbError> {
        Ok((Vec::new(), Vec::new()))
    }
}
