//! What a network costs each site, by the number of sites.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_simulations::scale::{self, Question};

#[test]
fn seventy_sites_converge() {
    let ask = |sites, writers| scale::measure(Question { sites, writers, seed: 1 });
    let few = ask(10, 10);
    let many = ask(70, 70);
    for answer in [&few, &many] {
        assert!(answer.converged_ms.is_some(), "{answer:?}");
        assert!(answer.messages > answer.writers as f64, "{answer:?}");
    }
    // An entry names the heads of what its author has seen, not every log.
    assert!(many.entry_bytes < 2.0 * few.entry_bytes, "{few:?} {many:?}");
    assert!(many.frontier_bytes > 5 * few.frontier_bytes, "every log is a line of the frontier");
    assert!(scale::svg(&[few, many]).unwrap().ends_with("</svg>\n"));
}
