//! What can be said of the API's token.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Replace the token by a new one; programs that use the old one are refused at once, until they read `api.token` again
    Rotate,
}
