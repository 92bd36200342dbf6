//! Who is let in, and who is not.

use super::*;

#[tokio::test]
async fn a_link_signs_in_once_and_wrong_ones_never() {
    let mut scene = Scene::with("").await;
    assert_eq!(scene.get("/").await.place(), "/sign-in");
    let link = scene.office.links.make(Instant::now()).unwrap();
    let path = format!("/sign-in/{link}");
    for wrong in ["/sign-in/x", &format!("{path}A"), &path.to_lowercase(), "/sign-in/%00"] {
        let answer = scene.get(wrong).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{wrong}");
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
    // Neither a program that only looks nor a browser that is ahead uses it up.
    let head = scene.send(Method::HEAD, &path, &[], &[]).await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED);
    let ahead = scene.send(Method::GET, &path, &[("sec-purpose", "prefetch")], &[]).await;
    assert_eq!(ahead.status, StatusCode::METHOD_NOT_ALLOWED);
    let answer = scene.get(&path).await;
    assert_eq!((answer.status, answer.place()), (StatusCode::SEE_OTHER, "/"));
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", &scene.office.handle.site().to_string()] {
        assert!(set.contains(part), "{set}");
    }
    scene.keep(&answer);
    assert!(scene.get("/").await.ok().contains("head"));
    let again = scene.send(Method::GET, &path, &[("cookie", "")], &[]).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    let late = Instant::now().checked_sub(crate::sign_in::links::LIFETIME).unwrap();
    let late = scene.office.links.make(late).unwrap();
    assert_eq!(scene.get(&format!("/sign-in/{late}")).await.status, StatusCode::FORBIDDEN);
    scene.stop().await;
}

#[tokio::test]
async fn a_session_begins_under_a_secret_of_its_own_and_the_old_one_ends() {
    let mut scene = Scene::signed_in().await;
    let old = scene.secret.clone();
    let link = scene.office.links.make(Instant::now()).unwrap();
    let answer = scene.get(&format!("/sign-in/{link}")).await;
    scene.keep(&answer);
    assert_ne!(scene.secret, old);
    assert!(scene.office.sessions.find(&old, scene.office.now_ms()).is_none());
    // One that somebody has put there before is not taken up.
    let planted = format!("{}={}", scene.office.cookie_name(), "A".repeat(43));
    let link = scene.office.links.make(Instant::now()).unwrap();
    let path = format!("/sign-in/{link}");
    let answer = scene.send(Method::GET, &path, &[("cookie", &planted)], &[]).await;
    assert!(!answer.headers[header::SET_COOKIE].to_str().unwrap().contains("AAAAAAAA"));
    let both = format!("{planted}; {}={}", scene.office.cookie_name(), scene.secret);
    let answer = scene.send(Method::GET, "/", &[("cookie", &both)], &[]).await;
    assert_eq!(answer.place(), "/sign-in", "one of two cookies of one name was taken");
    scene.stop().await;
}

#[tokio::test]
async fn signing_out_ends_the_session_wherever_its_secret_is() {
    let scene = Scene::signed_in().await;
    let answer = scene.post("/sign-out", &[]).await;
    assert_eq!(answer.place(), "/sign-in");
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(scene.get("/").await.place(), "/sign-in");
    scene.stop().await;
}

#[tokio::test]
async fn a_stolen_cookie_is_of_no_use_at_another_host() {
    let scene = Scene::signed_in().await;
    for host in
        ["evil.example", "evil.example:7080", "127.0.0.1:7081", "127.0.0.1.evil.example:7080", ""]
    {
        let answer = scene.send(Method::GET, "/", &[("host", host)], &[]).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!answer.text.contains("<html"), "{host}");
    }
    for host in ["localhost:7080", "127.0.0.1:7080", "[::1]:7080"] {
        assert_eq!(
            scene.send(Method::GET, "/", &[("host", host)], &[]).await.status,
            StatusCode::OK
        );
    }
    scene.stop().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_even_with_the_cookie_and_the_token() {
    let scene = Scene::signed_in().await;
    let token = crate::sign_in::secret::form_token(&scene.secret);
    let form = [(crate::form::TOKEN, token.as_str()), ("language", "es")];
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "https://127.0.0.1:7080"),
        ("origin", "http://127.0.0.1:7081"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = scene.send(Method::POST, "/language", &[(name, value)], &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let own = [("origin", "http://127.0.0.1:7080"), ("sec-fetch-site", "same-origin")];
    let answer = scene.send(Method::POST, "/language", &own, &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(scene.get("/").await.ok().contains("Oficinas"));
    scene.stop().await;
}

#[tokio::test]
async fn a_form_without_the_sessions_token_changes_nothing() {
    let scene = Scene::signed_in().await;
    let other = crate::sign_in::secret::form_token("another secret");
    for token in ["", "x", &other] {
        let form = [(crate::form::TOKEN, token)];
        let answer = scene.send(Method::POST, "/sign-out", &[], &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
    }
    assert_eq!(scene.get("/").await.status, StatusCode::OK);
    scene.stop().await;
}

#[tokio::test]
async fn passwords_let_in_as_long_as_they_are_the_users() {
    let mut scene = Scene::with("").await;
    scene.add_user("ana", Role::Operator);
    for (name, password) in [("ana", "wrong"), ("ben", PASSWORD), ("", ""), ("ana", "")] {
        assert_eq!(scene.sign_in(name, password).await.status, StatusCode::FORBIDDEN);
    }
    let answer = scene.sign_in("ana", PASSWORD).await;
    scene.keep(&answer);
    assert!(scene.get("/").await.ok().contains("ana"));
    let users = Users::of_site(scene.data.path());
    users.set_password("ana", "another password").unwrap();
    assert_eq!(scene.get("/").await.place(), "/sign-in");
    scene.stop().await;
}

#[tokio::test]
async fn guessing_passwords_is_stopped_and_says_for_how_long() {
    let scene = Scene::with("").await;
    scene.add_user("ana", Role::Operator);
    let mut last = scene.sign_in("ana", "wrong").await;
    for _ in 0..15 {
        last = scene.sign_in("ana", "wrong").await;
    }
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(last.text.contains("15 minutes"), "{}", last.text);
    assert_eq!(scene.sign_in("ana", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    scene.stop().await;
}

#[tokio::test]
async fn every_answer_keeps_scripts_and_frames_of_others_out() {
    let scene = Scene::signed_in().await;
    for path in ["/", "/sign-in", "/nothing", &crate::assets::path("page"), "/live"] {
        if path == "/live" {
            continue;
        }
        let answer = scene.get(path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        let is_kept = path.starts_with("/assets/");
        let cache = answer.headers[header::CACHE_CONTROL].to_str().unwrap();
        assert_eq!(cache.contains("no-store"), !is_kept, "{path}: {cache}");
        assert!(!answer.text.contains("style=") && !answer.text.contains("onclick="), "{path}");
    }
    scene.stop().await;
}
