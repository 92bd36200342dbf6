//! People who sign in with a password, over TLS, each in their language.

use branchline_tests::Office;

use super::browser::{Browser, Wanted, is_there};
use crate::PROGRAM;

#[test]
fn a_viewer_signs_in_over_tls_in_spanish_and_finds_nothing_to_press() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let made = head.run(["page", "cert"]).ok();
    assert!(made.contains("SHA-256     ") && made.contains("cert.pem"), "{made}");
    head.run_with(
        ["user", "add", "ana", "--role", "viewer", "--password-file", "-"],
        "una clave larga\n",
    )
    .ok();
    let list = head.run(["user", "list"]).ok();
    assert!(list.contains("ana") && list.contains("viewer") && !list.contains("clave"), "{list}");
    std::fs::write(head.data.join("branchline.toml"), "[page]\nlisten = \"0.0.0.0:0\"\n").unwrap();
    head.start();
    head.run(["put", "products", "tea", "{\"name\":\"Té\"}"]).ok();
    let link = head.run(["open", "--print"]).ok();
    let base = link.split("/sign-in/").next().unwrap().to_owned();
    assert!(base.starts_with("https://127.0.0.1:"), "{base}");
    let browser = Browser::start(Wanted { language: Some("es"), ..Wanted::default() });
    browser.go(&base);
    browser.shows("Contraseña");
    browser.type_into("#name", "ana");
    browser.type_into("#password", "una clave corta");
    browser.press("button.primary");
    browser.shows("no es correcto");
    browser.type_into("#name", "ana");
    browser.type_into("#password", "una clave larga");
    browser.press("button.primary");
    browser.shows("Oficinas");
    browser.go(&format!("{base}/record/products/tea"));
    browser.shows("Té");
    browser.go(&format!("{base}/network"));
    browser.shows("administrador");
    browser.go(&format!("{base}/record/products/tea"));
    let text = browser.text();
    assert!(!text.contains("Editar") && !text.contains("Borrar"), "{text}");
    head.run(["user", "remove", "ana"]).ok();
    browser.go(&base);
    // Nobody is left who could sign in so, and no form is shown for it.
    browser.shows("un enlace que sirve una sola vez");
}
