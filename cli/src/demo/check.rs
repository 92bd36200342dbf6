//! What turns the story into a check: claims that must hold, and waits that must end.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use super::error::DemoError;
use super::office::Office;
use super::products::Product;

/// How long anything may take. In practice it is a few seconds at most.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Ends the demo unless what it claims is so.
pub(super) fn claim<T: PartialEq + Debug>(
    what: &str,
    expected: T,
    found: T,
) -> Result<(), DemoError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (format!("{what}: {expected:?}"), format!("{found:?}"));
    Err(DemoError::Claim { expected, found })
}

/// Waits until `look` sees what `is_awaited`. What it sees instead is reported if that never comes.
pub(super) async fn until<T: Debug>(
    awaited: &str,
    is_awaited: impl Fn(&T) -> bool,
    mut look: impl AsyncFnMut() -> Result<T, DemoError>,
) -> Result<(), DemoError> {
    let started = Instant::now();
    loop {
        let seen = look().await?;
        if is_awaited(&seen) {
            return Ok(());
        }
        if started.elapsed() > DEADLINE {
            let (awaited, seen) = (awaited.to_owned(), format!("{seen:?}"));
            return Err(DemoError::Deadline { awaited, waited: DEADLINE, seen });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until `one` and `other` both see each other, or both do not.
pub(super) async fn until_connected(
    one: &Office,
    other: &Office,
    connected: bool,
) -> Result<(), DemoError> {
    let state = if connected { "find" } else { "lose" };
    let awaited = format!("{} and {} to {state} each other", one.name, other.name);
    until(
        &awaited,
        |seen| *seen == (connected, connected),
        async || Ok((one.sees(other).await?, other.sees(one).await?)),
    )
    .await
}

/// Waits until all offices have the same digest. Each digest holds all that its own office wrote, and nothing is
/// written meanwhile, so that equal ones hold everything.
pub(super) async fn until_equal(offices: &[&Office]) -> Result<(), DemoError> {
    let is_equal = |digests: &Vec<_>| digests.iter().all(|(_, digest)| *digest == digests[0].1);
    until("equal digests", is_equal, async || {
        let mut digests = Vec::new();
        for office in offices {
            digests.push((office.name, office.digest().await?));
        }
        Ok(digests)
    })
    .await
}

/// Waits until every office has the receipts of all: that they lack nothing.
pub(super) async fn until_receipted(offices: &[&Office]) -> Result<(), DemoError> {
    for office in offices {
        let awaited = format!("receipts of all at {}", office.name);
        let all = |lags: &Vec<(_, _)>| lags.iter().all(|(_, lag)| *lag == Some(0));
        until(&awaited, all, async || office.lags().await).await?;
    }
    Ok(())
}

/// Every stock is the catalogue's without what was sold, at every office. Returns the number of sales.
pub(super) async fn check_stocks(
    catalogue: &[Product],
    offices: &[&Office],
) -> Result<usize, DemoError> {
    let made = offices.iter().map(|office| office.sales_made()).sum();
    for office in offices {
        let sales = office.sales().await?;
        claim(&format!("sales at {}", office.name), made, sales.len())?;
        let stocks = office.stocks().await?;
        for Product { id, stock, .. } in catalogue {
            let sold = sales.iter().filter(|sale| sale.product == *id);
            let left = stock - sold.map(|sale| sale.quantity).sum::<i64>();
            let what = format!("stock of {id} at {}", office.name);
            claim(&what, Some(&left), stocks.get(id))?;
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_does_not_hold_tells_both_sides() {
        assert!(claim("stock", 35, 35).is_ok());
        let error = claim("stock", 35, 34).map_err(|error| error.to_string());
        let expected = "the demo's claim does not hold: expected stock: 35, found 34";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
