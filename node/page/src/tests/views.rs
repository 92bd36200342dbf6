//! What the views show.

use serde_json::json;

use super::*;

#[tokio::test]
async fn the_offices_view_reads_without_scripts_and_shows_the_days_totals() {
    let page = "[page]\ntime_zone = \"UTC\"\n[[page.total]]\ncollection = \"sales\"\ntime = \"at\"\nsum = \"amount\"\n";
    let mut scene = Scene::with(page).await;
    let now = jiff::Timestamp::now().to_string();
    scene.put("sales/1", json!({ "at": now, "amount": 12.5 })).await;
    scene.put("sales/2", json!({ "at": now, "amount": 30 })).await;
    scene.put("sales/3", json!({ "at": "2001-01-01T00:00:00Z", "amount": 1000 })).await;
    let link = scene.office.links.make(Instant::now()).unwrap();
    let answer = scene.get(&format!("/sign-in/{link}")).await;
    scene.keep(&answer);
    let view = scene.get("/").await.ok();
    for part in
        ["Today in sales", "42.5", "2 records", "This office", "branchline status", "No conflicts"]
    {
        assert!(view.contains(part), "{part}: {view}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn names_and_values_of_records_are_text_wherever_they_are_shown() {
    let scene = Scene::signed_in().await;
    let nasty = "<script>alert(1)</script>\"'\u{202e}\u{1b}[2J&amp;";
    let id = "<img src=x onerror=alert(2)>";
    let path = format!("notes/{}", crate::ask::encoded(id));
    scene
        .put(&path, json!({ "text": nasty, "<b>name</b>": { "deep": [nasty] }, "\u{202e}x": 1 }))
        .await;
    let record = format!("/record/{path}");
    for view in ["/records/notes", &record, &format!("{record}/edit"), "/why", "/", "/conflicts"] {
        let shown = scene.get(view).await.ok();
        for part in ["<script>alert", "<img src=x", "<b>name", "\u{202e}", "\u{1b}"] {
            // What a form sends is as it is, and nobody sees it.
            let is_form = view.ends_with("/edit") && !part.starts_with('<');
            assert!(is_form || !without_values(&shown).contains(part), "{view} shows {part:?}");
        }
    }
    let csv = scene.get("/records/notes/csv").await;
    assert_eq!(csv.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    let name = csv.headers[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert_eq!(name, "attachment; filename=\"notes.csv\"");
    scene.stop().await;
}

/// A view without the values of its fields.
fn without_values(view: &str) -> String {
    let mut parts = view.split(" value=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

#[tokio::test]
async fn a_table_is_filtered_ordered_and_counted_and_says_where_a_filter_is_wrong() {
    let scene = Scene::signed_in().await;
    for number in 0..60 {
        let name = format!("tea {number}");
        scene.put(&format!("products/{number:03}"), json!({ "name": name, "price": number })).await;
    }
    let all = scene.get("/records/products").await.ok();
    assert!(all.contains("50 on this page") && all.contains("60 in all"), "{all}");
    assert!(all.contains("rel=\"next\""));
    let some = scene.get("/records/products?where=price+%3E%3D+10&order=-price").await.ok();
    assert!(some.contains("Total not known") && some.contains("Count them"));
    assert!(some.find("tea 59").unwrap() < some.find("tea 58").unwrap());
    let counted = scene.get("/records/products?where=price+%3E%3D+10&count=1").await.ok();
    assert!(counted.contains("50 in all"), "{counted}");
    let wrong = scene.get("/records/products?where=price+%3E%3D+%3D+3").await.ok();
    assert!(wrong.contains("price &gt;= = 3\n         ^"), "{wrong}");
    let totals = scene.get("/records/products?by=name&sum=price&where=price+%3C+2").await.ok();
    assert!(totals.contains("2 groups") && totals.contains("Σ "), "{totals}");
    let columns = scene.get("/records/products?column=price").await.ok();
    assert!(!columns.contains("tea 1<") && !columns.contains("aria-sort"));
    let csv = scene.get("/records/products/csv?where=price+%3C+2&column=price").await.ok();
    assert_eq!(csv, "id,price\n000,0\n001,1\n");
    scene.stop().await;
}

#[tokio::test]
async fn a_record_is_edited_deleted_and_brought_back_and_its_history_shows_it() {
    let scene = Scene::signed_in().await;
    scene.put("products/1", json!({ "name": "Tea", "price": 2.55 })).await;
    let form = scene.get("/record/products/1/edit").await.ok();
    let etag = field_of(&form, "etag");
    let fields = [
        ("etag", etag.as_str()),
        ("value:name", "Tea"),
        ("kind:price", "number"),
        ("value:price", "3.15"),
    ];
    let saved = scene.post("/record/products/1/edit", &fields).await;
    assert_eq!(saved.place(), "/record/products/1");
    let shown = scene.get("/record/products/1").await.ok();
    for part in ["3.15", "Saved: price", "has it", "2.55", "branchline history products 1"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Once more with what is old by now: what was typed stays, and nothing is written.
    let late = scene.post("/record/products/1/edit", &fields).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert!(late.text.contains("Somebody has changed") && late.text.contains("3.15"));
    let etag = field_of(&scene.get("/record/products/1").await.ok(), "etag");
    scene.post("/record/products/1/delete", &[("etag", &etag)]).await;
    let gone = scene.get("/record/products/1").await.ok();
    assert!(gone.contains("This record is deleted") && gone.contains("Bring it back"), "{gone}");
    scene.post("/record/products/1/undelete", &[]).await;
    assert!(scene.get("/record/products/1").await.ok().contains("came back"));
    let new = [("id", "2"), ("new-name", "price"), ("new-kind", "number"), ("new-value", "7")];
    assert_eq!(scene.post("/records/products/new", &new).await.place(), "/record/products/2");
    let again = scene.post("/records/products/new", &new).await;
    assert!(again.status.is_client_error() && again.text.contains("value=\"7\""), "{}", again.text);
    scene.stop().await;
}

/// The value of a hidden field.
#[track_caller]
pub(super) fn field_of(view: &str, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let at = view.find(&begin).unwrap_or_else(|| panic!("no field {name}: {view}")) + begin.len();
    let value = view[at..].split('"').next().unwrap();
    value.replace("&quot;", "\"")
}

#[tokio::test]
async fn viewers_see_everything_and_change_nothing() {
    let scene = Scene::of_viewer().await;
    scene.put("products/1", json!({ "name": "Tea" })).await;
    for view in [
        "/",
        "/why",
        "/conflicts",
        "/records",
        "/records/products",
        "/record/products/1",
        "/jobs",
        "/network",
    ] {
        let shown = scene.get(view).await.ok();
        assert!(!shown.contains("danger") && !shown.contains("Edit<"), "{view}");
    }
    let etag =
        scene.office.ask.exchange(Method::GET, "/v1/records/products/1", &[], None).await.unwrap();
    let etag = etag.headers()[header::ETAG].to_str().unwrap().to_owned();
    for (path, fields) in [
        ("/record/products/1/delete", vec![("etag", etag.as_str())]),
        ("/record/products/1/edit", vec![("etag", &etag), ("value:name", "x")]),
        ("/record/products/1/undelete", vec![]),
        ("/records/products/new", vec![("id", "9")]),
        ("/conflicts/settle", vec![]),
        ("/conflicts/settle-many", vec![("collection", "products")]),
        ("/conflicts/undo", vec![("number", "1")]),
        ("/jobs/bridge/till/pause", vec![]),
        ("/job/1/cancel", vec![]),
        ("/network/sync", vec![]),
        ("/network/tickets", vec![("role", "admin")]),
        ("/network/stick", vec![]),
        ("/network/backup", vec![]),
    ] {
        let answer = scene.post(path, &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text);
    }
    let body = "--x\r\ncontent-disposition: form-data; name=\"form_token\"\r\n\r\nTOKEN\r\n--x\r\ncontent-disposition: form-data; name=\"stick\"; filename=\"a\"\r\n\r\nabc\r\n--x--\r\n";
    let token = crate::sign_in::secret::form_token(&scene.secret);
    let cookie = format!("{}={}", scene.office.cookie_name(), scene.secret);
    let request = Request::post("/network/merge")
        .header(header::HOST, OWN)
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=x")
        .body(Body::from(body.replace("TOKEN", &token)))
        .unwrap();
    assert_eq!(scene.exchange(request).await.status, StatusCode::FORBIDDEN);
    assert_eq!(scene.get("/network/ticket").await.status, StatusCode::NOT_FOUND);
    assert_eq!(scene.get("/record/products/1/edit").await.status, StatusCode::FORBIDDEN);
    assert!(scene.get("/record/products/1").await.ok().contains("Tea"));
    scene.stop().await;
}

#[tokio::test]
async fn tickets_are_shown_to_who_made_them_and_a_stick_is_made() {
    let scene = Scene::signed_in().await;
    let made = scene.post("/network/tickets", &[("role", "reader"), ("hours", "1")]).await;
    // A node that listens nowhere has no address to put into one: the page says so until that is dismissed.
    assert_eq!(made.place(), "/network#tickets");
    let view = scene.get("/network").await.ok();
    assert!(view.contains("no address of this site is known"), "{view}");
    assert!(scene.get("/").await.ok().contains("no address of this site is known"));
    let number = field_of(&view, "number");
    scene.post("/dismiss", &[("number", &number)]).await;
    assert!(!scene.get("/").await.ok().contains("no address of this site is known"));
    scene.put("products/1", json!({ "name": "Tea" })).await;
    let stick = scene.post("/network/stick", &[("for", "")]).await;
    let name = stick.headers[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
    assert!(name.contains(".bundle\""), "{name}");
    assert!(stick.text.starts_with("branchline"), "{:?}", &stick.text[..20]);
    scene.stop().await;
}

#[tokio::test]
async fn a_backup_goes_to_the_folder_that_the_configuration_names_and_nowhere_else() {
    let mut scene = Scene::with("[page]\nbackups = \"kept\"\n").await;
    let link = scene.office.links.make(Instant::now()).unwrap();
    let answer = scene.get(&format!("/sign-in/{link}")).await;
    scene.keep(&answer);
    scene.put("products/1", json!({ "name": "Tea" })).await;
    scene.post("/network/backup", &[]).await;
    assert!(scene.get("/network").await.ok().contains("was not written"));
    let folder = scene.data.path().join("kept");
    std::fs::create_dir(&folder).unwrap();
    scene.post("/network/backup", &[]).await;
    let files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let restored = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::open(&files[0]).unwrap();
    let report =
        branchline_node::backup::restore(&mut file, &restored.path().join("site")).unwrap();
    assert_eq!(report.header.name, "head");
    scene.stop().await;
}
