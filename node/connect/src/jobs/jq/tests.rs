use serde_json::json;

use super::*;

fn compile(text: &str) -> Filter {
    Filter::compile(text).unwrap()
}

async fn one_text(filter: &str, input: &str) -> Result<String, JqFault> {
    let filter = compile(filter);
    let outputs = filter.run_texts(vec![input.to_owned()]).await.pop().unwrap();
    filter.one(outputs?)
}

#[tokio::test]
async fn an_expression_gives_its_outputs_in_order() {
    let filter = compile(".accounts[] | {id, name: .data.name}");
    let outputs = filter
        .run(json!({"accounts": [{"id": 2, "data": {"name": "a"}}, {"id": 1, "data": {}}]}))
        .await
        .unwrap();
    assert_eq!(outputs, [json!({"id": 2, "name": "a"}), json!({"id": 1, "name": null})]);
    let each = compile(".n").run_each(vec![json!({"n": 1}), json!(1), json!({"n": 3})]).await;
    assert_eq!(each.len(), 3);
    assert_eq!(each[0], Ok(vec![json!(1)]));
    assert!(matches!(&each[1], Err(JqFault::Failed { .. })), "{each:?}");
    assert_eq!(each[2], Ok(vec![json!(3)]));
}

#[tokio::test]
async fn numbers_keep_their_digits_and_keys_their_order() {
    let text = r#"{"z":12.50,"a":18446744073709551617,"big":12345678901234567890.123450,"e":1e3,"deep":[{"b":0.10,"a":-1}]}"#;
    assert_eq!(one_text(".", text).await.unwrap(), text);
    assert_eq!(
        one_text(".items[] | .price", r#"{"items":[{"price":1.10}]}"#).await.unwrap(),
        "1.10"
    );
}

#[tokio::test]
async fn input_that_is_no_json_or_without_end_is_refused() {
    for bad in [
        "",
        "{",
        "NaN",
        "[1] # more",
        "b\"a\"",
        "{1: 2}",
        "1 2",
        &"[".repeat(100_000),
        &"[".repeat(129),
    ] {
        let error = one_text(".", bad).await.unwrap_err().to_string();
        assert!(error.contains("not JSON"), "{error}");
    }
    let deep = format!("{}\"[[\\\"[[\"{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(one_text(".", &deep).await.unwrap(), deep);
}

#[test]
fn what_is_no_expression_is_refused_with_what_was_found() {
    for (text, part) in [
        (".a |", "found its end"),
        (".a b c", "found"),
        ("{", "closing brace"),
        ("nosuch(.a)", "nosuch"),
        ("now", "now is not defined (expressions here look at their input alone)"),
        ("env.HOME", "env"),
        ("$ENV", "$ENV"),
        ("input", "input"),
        ("halt", "halt"),
        ("debug", "debug"),
        ("def f: f; f", "defines a function"),
        ("\"\\(def f: f; f)\"", "defines a function"),
        ("import \"a\" as a; .", ""),
    ] {
        let error = Filter::compile(text).unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("not a usable jq expression"),
            "{text}: {error}"
        );
    }
    let long = format!("[{}]", "1,".repeat(TEXT_BYTES_MAX));
    assert!(Filter::compile(&long).unwrap_err().what.contains("expected at most"));
    // A key may be called so.
    compile(".def | .now");
}

#[tokio::test]
async fn one_output_is_demanded_where_one_is_needed() {
    for (text, found) in [("empty", 0), (".[]", 2)] {
        let error = compile(text).run_one(json!([1, 2])).await.unwrap_err();
        assert!(matches!(error, JqFault::NotOne { found: n, .. } if n == found), "{error}");
    }
    let error = compile(".a").run_one(json!("text")).await.unwrap_err().to_string();
    assert!(error.contains(".a") && error.contains("failed"), "{error}");
    let error = compile("nan | tojson | infinite").run_one(json!(1)).await.unwrap_err();
    assert!(error.to_string().contains("not JSON"), "{error}");
}

#[tokio::test]
async fn an_expression_that_gives_without_end_is_stopped() {
    let error = compile("repeat(1)").run(json!(null)).await.unwrap_err();
    assert!(matches!(error, JqFault::Large { .. }), "{error}");
    // Another one goes on meanwhile, and so does this one afterwards.
    assert_eq!(compile(".").run_one(json!(1)).await.unwrap(), json!(1));
}

#[tokio::test]
async fn an_expression_that_finds_no_end_is_given_up_and_says_so_until_it_is_free() {
    let text = "if . == 1 then last(range(infinite)) else . end";
    let filter = Filter::compile_for(text, Duration::from_millis(50)).unwrap();
    let error = filter.run(json!(1)).await.unwrap_err();
    assert!(matches!(error, JqFault::Slow { .. }), "{error}");
    // Its thread is still at it: what comes next is refused at once, and nothing piles up.
    let error = filter.run(json!(2)).await.unwrap_err();
    assert!(matches!(error, JqFault::Slow { .. }), "{error}");
    assert!(error.to_string().contains("last(range(infinite))"), "{error}");
}
