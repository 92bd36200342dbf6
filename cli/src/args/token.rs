//! What can be said of the API's token.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Replace the token with a new one; programs that send the old one are refused until they read `api.token` again
    Rotate,
}
