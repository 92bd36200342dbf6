//! The words for what the API names in its own way: roles and states.

use super::Texts;

impl Texts {
    /// The word for a role. One that is not known here stays as it is.
    pub(crate) fn word_of_role<'a>(&self, role: &'a str) -> &'a str {
        match role {
            "admin" => self.role_admin,
            "reader" => self.role_reader,
            "writer" => self.role_writer,
            other => other,
        }
    }

    /// The word for the state of a connector, of a table, a run or a job. One that is not known here stays as it is.
    pub(crate) fn word_of_state<'a>(&self, state: &'a str) -> &'a str {
        match state {
            "backing-off" => self.state_backing_off,
            "cancelled" => self.state_cancelled,
            "clearing" => self.state_clearing,
            "comparing" => self.state_comparing,
            "completed" => self.state_completed,
            "failed" => self.state_failed,
            "from-collection" => self.state_from_collection,
            "from-database" => self.state_from_database,
            "listing" => self.state_listing,
            "loading" => self.state_loading,
            "not-running" => self.state_not_running,
            "paused" => self.state_paused,
            "pruning" => self.state_pruning,
            "retrying" => self.state_retrying,
            "running" => self.state_running,
            "starting" => self.state_starting,
            "stopped" => self.state_stopped,
            "superseded" => self.state_superseded,
            "sweeping" => self.state_sweeping,
            "waiting" => self.state_waiting,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{en, es};

    #[test]
    fn roles_and_states_have_words_in_each_language_and_what_is_not_known_stays() {
        assert_eq!(en::EN.word_of_role("admin"), "admin");
        assert_eq!(es::ES.word_of_role("admin"), "administrador");
        assert_eq!(en::EN.word_of_state("backing-off"), "waits and tries again");
        assert_eq!(es::ES.word_of_state("paused"), "en pausa");
        assert_eq!(es::ES.word_of_state("of a later version"), "of a later version");
    }
}
