//! The day: a network, a catalogue, sales, a cut link, a heal, a conflict and its end.

use std::path::Path;
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;
use jiff::Timestamp;
use serde_json::json;

use super::check::{check_stocks, claim, until_connected, until_equal, until_receipted};
use super::error::DemoError;
use super::link::Link;
use super::office::{Office, Sale, Shown, Written, on_loopback};
use super::products::{Product, merge, products, schemas};
use super::screen::{Screen, short, short_site, since};

/// Tickets are used at once.
const TICKET_LIFETIME: Duration = Duration::from_secs(600);
/// The product that everyone sells, and that two offices price.
const PRODUCT: &str = "beans";
/// What head asks for it while the link is cut.
const PRICE_OF_HEAD: &str = "13.90";
/// What south asks for it at the same time.
const PRICE_OF_SOUTH: &str = "11.90";
/// What head decides upon at the end.
const PRICE_DECIDED: &str = "12.90";

/// The three offices and the link that is cut.
pub(super) struct Story<'a, 'b> {
    screen: &'a mut Screen<'b>,
    catalogue: Vec<Product>,
    head: Office,
    north: Office,
    south: Office,
    link: Link,
}

impl<'a, 'b> Story<'a, 'b> {
    /// Tells it from beginning to end, in folders below `root`.
    pub(super) async fn report(
        screen: &'a mut Screen<'b>,
        root: &Path,
        is_kept: bool,
    ) -> Result<(), DemoError> {
        let started = Instant::now();
        let mut story = Self::open(screen, root).await?;
        story.write_the_catalogue().await?;
        story.sell_together().await?;
        story.cut().await?;
        story.work_apart().await?;
        story.heal().await?;
        story.decide().await?;
        story.end(root, is_kept, started).await
    }

    async fn open(screen: &'a mut Screen<'b>, root: &Path) -> Result<Self, DemoError> {
        screen.title("Branchline: a head office and two branches, three real nodes on loopback")?;
        screen.act("head founds a network, north and south join with tickets")?;
        let head = Office::start("head", root, true, on_loopback()).await?;
        let ticket = head.handle.invite(Role::Writer, TICKET_LIFETIME, Vec::new()).await?;
        // South reaches head by a name alone and listens nowhere. Sites do not believe loopback addresses that they
        // hear from behind a name, so no connection can lead around the link.
        let link = Link::to(head.socket()?).await.map_err(|source| DemoError::Link { source })?;
        let by_link = vec![link.address()];
        let ticket_by_link = head.handle.invite(Role::Writer, TICKET_LIFETIME, by_link).await?;

        let north = Office::start("north", root, false, on_loopback()).await?;
        let south = Office::start("south", root, false, Vec::new()).await?;
        let started = Instant::now();
        north.handle.join(ticket).await?;
        south.handle.join(ticket_by_link).await?;
        for branch in [&north, &south] {
            until_connected(&head, branch, true).await?;
        }
        let joined = since(started);

        let rows = [&head, &north, &south]
            .map(|office| vec![office.name.to_owned(), short_site(office.site()), office.api()]);
        screen.table(&["office", "site", "HTTP API"], &rows)?;
        let network = head.handle.network_id().map(|id| id.to_string()).unwrap_or_default();
        screen.good(&format!("network {}, three members after {joined}", short(&network)))?;
        screen.plain("south reaches head through a TCP proxy of this demo, and no other way")?;
        Ok(Self { screen, catalogue: products()?, head, north, south, link })
    }

    async fn write_the_catalogue(&mut self) -> Result<(), DemoError> {
        let count = self.catalogue.len();
        self.screen.act(&format!("head writes a catalogue of {count} products"))?;
        let started = Instant::now();
        self.head.write(schemas()).await?;
        self.head.write(self.catalogue.iter().map(Product::put).collect()).await?;
        until_equal(&self.offices()).await?;
        let equal = since(started);
        for shown in self.show().await? {
            claim("products", count as u64, shown.products)?;
        }
        self.screen.good(&format!("the same everywhere {equal} after head began to write"))?;
        Ok(())
    }

    async fn sell_together(&mut self) -> Result<(), DemoError> {
        let Self { screen, catalogue, head, north, south, .. } = self;
        screen.act("all sell; a sale and its stock are one transaction")?;
        sell(screen, catalogue, head, "mug", 4).await?;
        sell(screen, catalogue, north, "green-tea", 2).await?;
        sell(screen, catalogue, south, "mug", 6).await?;
        let started = Instant::now();
        until_equal(&self.offices()).await?;
        let equal = since(started);
        let sales = check_stocks(&self.catalogue, &self.offices()).await?;
        let text = format!("{sales} sales at every office {equal} later, and every stock adds up");
        self.screen.good(&text)?;
        Ok(())
    }

    async fn cut(&mut self) -> Result<(), DemoError> {
        let Self { screen, head, north, south, link, .. } = self;
        screen.act("the link to south is cut: its sockets are closed, new ones refused")?;
        let started = Instant::now();
        link.cut();
        until_connected(head, south, false).await?;
        let lost = since(started);
        claim("north is connected to head", true, north.sees(head).await?)?;
        claim("south's only way to head", vec![link.address()], south.ways_to(head).await?)?;
        claim("head's ways to south", Vec::new(), head.ways_to(south).await?)?;
        let text = format!("head and south lost each other within {lost}; north still has head");
        screen.good(&text)?;
        Ok(())
    }

    async fn work_apart(&mut self) -> Result<(), DemoError> {
        let Self { screen, catalogue, head, north, south, .. } = self;
        screen.act("all keep working; head and south reprice the same product")?;
        sell(screen, catalogue, head, PRODUCT, 3).await?;
        sell(screen, catalogue, north, PRODUCT, 1).await?;
        sell(screen, catalogue, south, PRODUCT, 2).await?;
        for (office, price) in [(&*head, PRICE_OF_HEAD), (&*south, PRICE_OF_SOUTH)] {
            office.write(vec![merge("products", PRODUCT, json!({ "price": price }))]).await?;
            screen.plain(&format!("{:<5} sets the price to {price}", office.name))?;
        }
        until_equal(&[head, north]).await?;
        let start = product(catalogue, PRODUCT)?.stock;
        let [head, north, south] = self.show().await?;
        claim("what north shows is what head shows", &head, &north)?;
        let expected = (start - 4, PRICE_OF_HEAD);
        claim("stock and price at head", expected, (head.stock, &head.price))?;
        let expected = (start - 2, PRICE_OF_SOUTH);
        claim("stock and price at south", expected, (south.stock, &south.price))?;
        claim("south is connected to head", false, self.south.sees(&self.head).await?)?;
        self.screen.good("north has what head has; south works on alone")?;
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), DemoError> {
        let Self { screen, head, south, link, .. } = self;
        screen.act("the link heals")?;
        let healed = Instant::now();
        link.heal();
        until_connected(head, south, true).await?;
        let (found, connected) = (since(healed), Instant::now());
        until_equal(&self.offices()).await?;
        let equal = since(connected);
        let shown = self.show().await?;
        let text = format!("south found head after {found}; equal digests {equal} later");
        self.screen.good(&text)?;

        check_stocks(&self.catalogue, &self.offices()).await?;
        let sales = self.south.sales().await?;
        let sales = sales.iter().filter(|sale| sale.product == PRODUCT);
        let term = |sale: &Sale| format!(" - {} ({})", sale.quantity, sale.id);
        let terms: String = sales.map(term).collect();
        let (start, stock) = (product(&self.catalogue, PRODUCT)?.stock, shown[0].stock);
        self.screen.good(&format!("no sale is lost: stock {start}{terms} = {stock}"))?;
        self.tell_the_conflict(&shown).await
    }

    /// The two prices, which must be the same conflict at every office.
    async fn tell_the_conflict(&mut self, shown: &[Shown; 3]) -> Result<(), DemoError> {
        let names = self.south.handle.names().await?;
        let by = |written: &Written| {
            let name = written.site.and_then(|site| names.get(&site)).cloned();
            (name.unwrap_or_default(), written.value.clone())
        };
        let [first, others @ ..] = shown;
        let mut found: Vec<_> = first.conflict.iter().map(by).collect();
        found.sort();
        let expected = [("head", PRICE_OF_HEAD), ("south", PRICE_OF_SOUTH)];
        let expected = expected.map(|(name, price)| (name.to_owned(), price.to_owned()));
        claim("both prices with their offices", expected.to_vec(), found)?;
        for other in others {
            claim("the same conflict at every office", first, other)?;
        }
        self.screen.notable("no price is lost: two were set without knowledge of each other")?;
        for written in &first.conflict {
            let (name, price) = by(written);
            let time = Timestamp::from_millisecond(written.time_ms).unwrap_or_default();
            let time = time.strftime("%H:%M:%S%.3f");
            let mark = if price == first.price { "shown everywhere" } else { "kept" };
            self.screen.notable(&format!("  {price} by {name:<5} at {time} UTC   {mark}"))?;
        }
        Ok(())
    }

    async fn decide(&mut self) -> Result<(), DemoError> {
        self.screen.act(&format!("head decides: the price is {PRICE_DECIDED}"))?;
        let started = Instant::now();
        let edit = merge("products", PRODUCT, json!({ "price": PRICE_DECIDED }));
        self.head.write(vec![edit]).await?;
        until_equal(&self.offices()).await?;
        let equal = since(started);
        for shown in self.show().await? {
            claim("the price", PRICE_DECIDED, &shown.price)?;
            claim("records in conflict", 0, shown.conflicts)?;
        }
        self.screen.good(&format!("the conflict is gone everywhere {equal} later"))?;
        until_receipted(&self.offices()).await?;
        let receipted = since(started);
        let text =
            format!("after {receipted} each office has all receipts: nobody is missing anything");
        self.screen.good(&text)?;
        Ok(())
    }

    async fn end(self, root: &Path, is_kept: bool, started: Instant) -> Result<(), DemoError> {
        let Self { screen, head, north, south, link, .. } = self;
        let took = since(started);
        if is_kept {
            // The link ends with the demo; from then on both look for head where it is.
            let peers = vec![head.address()?];
            head.keep(Vec::new())?;
            north.keep(peers.clone())?;
            south.keep(peers)?;
        }
        for office in [south, north, head] {
            office.stop().await;
        }
        drop(link);
        screen.act(&format!("done in {took}; what to try next"))?;
        let commands = if is_kept { into_the_folders(root) } else { further() };
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        for (command, what) in commands {
            screen.plain(&format!("{command:<width$}   # {what}"))?;
        }
        Ok(())
    }

    fn offices(&self) -> [&Office; 3] {
        [&self.head, &self.north, &self.south]
    }

    /// Prints and returns what each office shows.
    async fn show(&mut self) -> Result<[Shown; 3], DemoError> {
        let [head, north, south] = self.offices();
        let names = [head.name, north.name, south.name];
        let shown =
            [head.shows(PRODUCT).await?, north.shows(PRODUCT).await?, south.shows(PRODUCT).await?];
        let row = |(name, shown): (&str, &Shown)| {
            let Shown { products, sales, price, stock, digest, .. } = shown;
            let counts = [products.to_string(), sales.to_string()];
            let product = [price.clone(), stock.to_string(), short(digest).to_owned()];
            std::iter::once(name.to_owned()).chain(counts).chain(product).collect()
        };
        let rows: Vec<_> = names.into_iter().zip(&shown).map(row).collect();
        let price = format!("{PRODUCT}: price");
        let header = ["office", "products", "sales", &price, "stock", "digest"];
        self.screen.table(&header, &rows)?;
        Ok(shown)
    }
}

/// Sells, and tells of it.
async fn sell(
    screen: &mut Screen<'_>,
    catalogue: &[Product],
    office: &mut Office,
    id: &str,
    quantity: i64,
) -> Result<(), DemoError> {
    let title = &product(catalogue, id)?.name;
    let left = office.sell(id, quantity).await?;
    let name = office.name;
    screen.plain(&format!("{name:<5} sells {quantity} x {title}, has {left} left"))?;
    Ok(())
}

fn product<'a>(catalogue: &'a [Product], id: &str) -> Result<&'a Product, DemoError> {
    let found = catalogue.iter().find(|product| product.id == id);
    found.ok_or_else(|| DemoError::Claim {
        expected: format!("a product {id} in the catalogue"),
        found: "none".to_owned(),
    })
}

/// Commands that look into the folders that were kept.
fn into_the_folders(root: &Path) -> Vec<(String, &'static str)> {
    let at = |office: &str, command: &str| {
        let data = root.join(office);
        format!("{} --data {} {command}", program(), data.display())
    };
    vec![
        (at("south", "status"), "what south holds, and what the others lack"),
        (at("south", "list sales"), "the sales of all offices"),
        (at("north", "conflicts"), "none now; patch one price at two stopped offices, run both"),
        (at("head", "run"), "run head, and the others in terminals of their own: they find it"),
    ]
}

/// Commands that begin something new.
fn further() -> Vec<(String, &'static str)> {
    let at = |command: &str| format!("{} {command}", program());
    vec![
        (at("demo --keep shop"), "the same again, and the folders stay to look into"),
        (at("--data office init --name office --found"), "a network of your own"),
        (at("--help"), "everything else"),
    ]
}

/// This program, as it was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "branchline".to_owned())
}
