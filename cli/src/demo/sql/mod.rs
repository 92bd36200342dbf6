//! `branchline demo sql`: three offices whose applications know SQLite, and nothing of Branchline.
//!
//! Each office has a file of its own. The tills write plain SQL there; a bridge beside each file carries the rows to the
//! others. One office is cut off for a while, sells on, and everything adds up in the end. What is printed is read from the
//! files, and what the story claims is checked.

mod office;
mod shop;

use std::path::Path;
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;

use super::check::{claim, until};
use super::error::DemoError;
use super::screen::{Screen, since};
use office::SqlOffice;
use shop::{BRANCH, HEAD, STOCK};

/// Tickets are used at once.
const TICKET_LIFETIME: Duration = Duration::from_secs(600);
/// What a person would ask for each file.
const STOCKS: &str = "SELECT sku, price, qty FROM stock ORDER BY sku";
const SALES: &str = "SELECT office, id, sku, qty, paid FROM sales ORDER BY office, id";
const CONFIRMED: &str = "SELECT id, sku, qty, CASE WHEN acked_at IS NULL THEN 'no' ELSE 'yes' END FROM sales ORDER BY id";

/// Tells the story, in folders below `root`.
pub(super) async fn report(screen: &mut Screen<'_>, root: &Path) -> Result<(), DemoError> {
    let started = Instant::now();
    screen.title(
        "Branchline: three offices, each with a SQLite file and a till that knows only SQL",
    )?;
    let mut story = SqlStory::open(screen, root).await?;
    story.install().await?;
    story.price_list().await?;
    story.sell().await?;
    story.sell_apart().await?;
    story.end(started).await
}

struct SqlStory<'a, 'b> {
    screen: &'a mut Screen<'b>,
    head: SqlOffice,
    north: SqlOffice,
    south: SqlOffice,
}

impl<'a, 'b> SqlStory<'a, 'b> {
    async fn open(screen: &'a mut Screen<'b>, root: &Path) -> Result<Self, DemoError> {
        screen.act("the offices make their tables, as their applications always did")?;
        let head = SqlOffice::start("head", root, &[HEAD, STOCK]).await?;
        let ticket = head.invite(Role::Writer, TICKET_LIFETIME).await?;
        let north = SqlOffice::start("north", root, &[BRANCH, STOCK]).await?;
        north.join(ticket).await?;
        let ticket = head.invite(Role::Writer, TICKET_LIFETIME).await?;
        let south = SqlOffice::start("south", root, &[BRANCH, STOCK]).await?;
        south.join(ticket).await?;
        for line in [
            "head          sales(office, id, sku, qty, paid), stock(sku, price, qty)",
            "north, south  sales(id, sku, qty, paid, acked_at), stock(sku, price, qty)",
        ] {
            screen.plain(line)?;
        }
        Ok(Self { screen, head, north, south })
    }

    async fn install(&mut self) -> Result<(), DemoError> {
        self.screen.act("a bridge for each: `branchline bridge install shop`")?;
        let Self { screen, head, north, south } = self;
        // Head, an admin, declares what the fields are; the branches wait until they know.
        head.install().await?;
        for branch in [&*north, south] {
            branch.until_declared(&["sales", "stock"]).await?;
            branch.install().await?;
        }
        for office in [&*head, north, south] {
            office.until_running().await?;
        }
        let triggers =
            north.value("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").await?;
        let text =
            format!("{triggers} triggers in north's file; they only note which row has changed");
        screen.good(&text)?;
        Ok(())
    }

    async fn price_list(&mut self) -> Result<(), DemoError> {
        self.screen.act("head writes its price list, in SQL")?;
        let sql = "INSERT INTO stock VALUES ('tea', '2.50', 100), ('mug', '7.20', 60)";
        self.run(&[("head", sql)]).await?;
        let started = Instant::now();
        let expected = ["mug|7.20|60", "tea|2.50|100"];
        self.until_stocks(&expected).await?;
        self.screen
            .good(&format!("the rows are in north's and south's table {} later", since(started)))?;
        Ok(())
    }

    async fn sell(&mut self) -> Result<(), DemoError> {
        self.screen.act("north and south sell; both begin to number at 1, as tills do")?;
        self.run(&[
            ("north", "INSERT INTO sales (sku, qty, paid) VALUES ('tea', 2, '5.00')"),
            ("north", "UPDATE stock SET qty = qty - 2 WHERE sku = 'tea'"),
            ("south", "INSERT INTO sales (sku, qty, paid) VALUES ('tea', 5, '12.50')"),
            ("south", "UPDATE stock SET qty = qty - 5 WHERE sku = 'tea'"),
        ])
        .await?;
        let started = Instant::now();
        self.until_stocks(&["mug|7.20|60", "tea|2.50|93"]).await?;
        self.until_sales(&["north|1|tea|2|5.00", "south|1|tea|5|12.50"]).await?;
        let text =
            format!("{} later head's table has both sales, and every file says 93", since(started));
        self.screen.good(&text)?;
        Ok(())
    }

    async fn sell_apart(&mut self) -> Result<(), DemoError> {
        self.screen.act("south's node is stopped; its till does not notice, and sells on")?;
        self.south.stop().await;
        self.run(&[
            ("south", "INSERT INTO sales (sku, qty, paid) VALUES ('tea', 3, '7.50')"),
            ("south", "UPDATE stock SET qty = qty - 3 WHERE sku = 'tea'"),
            ("north", "INSERT INTO sales (sku, qty, paid) VALUES ('tea', 4, '10.00')"),
            ("north", "UPDATE stock SET qty = qty - 4 WHERE sku = 'tea'"),
            ("head", "UPDATE stock SET price = '2.80' WHERE sku = 'tea'"),
        ])
        .await?;
        let apart = ["mug|7.20|60", "tea|2.80|89"];
        self.north.until_rows(STOCKS, &apart).await?;
        self.south.until_rows(STOCKS, &["mug|7.20|60", "tea|2.50|90"]).await?;
        self.screen.notable("north says 89 at the new price, south 90 at the old one")?;

        self.screen.act("south's node starts again")?;
        let started = Instant::now();
        self.south.run_node().await?;
        self.until_stocks(&["mug|7.20|60", "tea|2.80|86"]).await?;
        self.until_sales(&[
            "north|1|tea|2|5.00",
            "north|2|tea|4|10.00",
            "south|1|tea|5|12.50",
            "south|2|tea|3|7.50",
        ])
        .await?;
        let text =
            format!("{} later: 100 - 2 - 5 - 3 - 4 = 86 in every file, at 2.80", since(started));
        self.screen.good(&text)?;
        self.show(&["office", "id", "sku", "qty", "paid"], "head> SELECT * FROM sales", SALES).await
    }

    async fn show(
        &mut self,
        header: &[&str],
        said: &str,
        sql: &'static str,
    ) -> Result<(), DemoError> {
        let rows = self.head.rows(sql).await?;
        let cells = |row: &String| row.split('|').map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<_> = rows.iter().map(cells).collect();
        self.screen.plain(said)?;
        self.screen.table(header, &rows)?;
        Ok(())
    }

    async fn end(self, started: Instant) -> Result<(), DemoError> {
        let Self { screen, mut head, mut north, mut south } = self;
        screen.act("the branches know what head holds durably: `acked_at` in their own tables")?;
        for (office, rows) in
            [(&north, ["1|tea|2|yes", "2|tea|4|yes"]), (&south, ["1|tea|5|yes", "2|tea|3|yes"])]
        {
            office.until_rows(CONFIRMED, &rows).await?;
        }
        screen.good("all four sales are confirmed, and no application was changed")?;
        let noted = north.value("SELECT count(*) FROM branchline_outbox").await?;
        claim("notes that wait in north's file", "0", &noted)?;
        for office in [&mut south, &mut north, &mut head] {
            office.stop().await;
        }
        screen.act(&format!("done in {}; what to try next", since(started)))?;
        for (command, what) in [
            ("branchline bridge plan NAME", "what a bridge of your own would do, before it does"),
            ("node/connect/BRIDGES.md", "a first bridge in five minutes"),
        ] {
            screen.plain(&format!("{command:<27}   # {what}"))?;
        }
        Ok(())
    }

    /// Runs statements as the tills do.
    async fn run(&mut self, statements: &[(&str, &'static str)]) -> Result<(), DemoError> {
        for (name, sql) in statements {
            self.screen.plain(&format!("{name:<5}> {sql}"))?;
            let office = match *name {
                "head" => &self.head,
                "north" => &self.north,
                _ => &self.south,
            };
            office.execute(sql).await?;
        }
        Ok(())
    }

    async fn until_stocks(&self, expected: &[&str]) -> Result<(), DemoError> {
        for office in [&self.head, &self.north, &self.south] {
            office.until_rows(STOCKS, expected).await?;
        }
        Ok(())
    }

    async fn until_sales(&self, expected: &[&str]) -> Result<(), DemoError> {
        self.head.until_rows(SALES, expected).await
    }
}

impl SqlOffice {
    async fn until_rows(&self, sql: &'static str, expected: &[&str]) -> Result<(), DemoError> {
        let awaited = format!("{expected:?} in {}'s file", self.name);
        until(&awaited, |rows: &Vec<String>| rows == expected, async || self.rows(sql).await).await
    }
}
