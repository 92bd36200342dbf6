//! A page for the office: how the offices stand, conflicts, records, jobs and the network in a browser, served by the node
//! itself.
//!
//! [`extension`] makes the part that a program registers with its node. Each view shows what an answer of the node's API
//! says, asked for in this process (`ask`); what a view changes goes through the API too, so the page can do nothing that
//! a program could not.
//!
//! | file | what |
//! |---|---|
//! | `extension`, `config` | what the node knows of it: the section `[page]`, and a path of the API that makes links to sign in |
//! | `server`, `tls` | connections, bounded, with or without TLS |
//! | `guard` | which requests are let in, and the headers of every answer |
//! | `sign_in` | links that serve once, sessions, people with passwords |
//! | `ask` | the node's API, asked in this process |
//! | `live` | pages that follow what happens |
//! | `layout`, `views` | what is shown |
//! | `texts` | the words, a file for each language |
//! | `assets` | the style sheet, and scripts |

mod ask;
mod assets;
mod config;
mod extension;
mod form;
mod guard;
mod layout;
mod live;
mod office;
mod server;
mod shown;
mod sign_in;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod texts;
mod tls;
mod trend;
mod views;

pub use extension::{PageLinkResponse, extension};
pub use sign_in::users;
pub use tls::{CertificateError, NewCertificate, make_certificate};
