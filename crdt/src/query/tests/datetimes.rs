//! Lists and summaries by exact times.

use super::*;

/// In the order of time, which is not that of the texts.
const TIMES: [&str; 8] = [
    "1969-12-31T23:59:59.999999999Z",
    "2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00",
    "2024-01-01T00:00:00.45Z",
    "2024-01-01T00:00:00.5Z",
    "2024-01-01T00:00:05.45Z",
    "2024-01-01T00:00:05.5Z",
    "2024-01-01T00:00:10Z",
];

#[test]
fn times_are_listed_grouped_and_summed_up_as_time() {
    let schema = products();
    // Records of every time, by ids that are in another order, and one without.
    let ids = ["g", "b", "f", "a", "h", "c", "e", "d"];
    let times = ids.iter().zip(TIMES).map(|(id, at)| ((*id).to_owned(), json!({ "at": at })));
    let store = store(&schema, times.chain([("x".to_owned(), json!({"stock": 1}))]));
    let listed = |order| {
        let query = Query::parse("products", &schema, Some("at is not null"), Some(order)).unwrap();
        all(&store, &query, Bounds { records: 2, ..BOUNDS }).concat()
    };
    assert_eq!(listed("at"), ids.concat());
    assert_eq!(listed("-at"), ids.into_iter().rev().collect::<String>());

    let asked = SummaryText {
        by: Some("at"),
        measures: [None, None, Some("at"), Some("at")],
        ..SummaryText::default()
    };
    let groups = summed(&store, &schema, asked).groups;
    let by: Vec<Json> = groups.iter().map(|group| group.by[0].to_json()).collect();
    assert_eq!(by[1..], TIMES.map(|text| json!(text)), "null is first");
    let total = summed(&store, &schema, SummaryText { by: None, ..asked });
    let values = total.groups[0].measures.iter().map(|measure| measure.value.to_json());
    assert_eq!(values.collect::<Vec<_>>(), [json!(TIMES[0]), json!(TIMES[7])]);

    for measures in [[Some("at"), None, None, None], [None, Some("at"), None, None]] {
        let error =
            SummaryQuery::parse(&schema, SummaryText { measures, ..SummaryText::default() });
        assert!(error.unwrap_err().to_string().contains("declared as datetime"));
    }
}

#[test]
fn texts_from_before_the_schema_are_compared_as_the_times_that_they_say() {
    let loose = json!({"at": "2024-01-01T01:00:00.50+01:00"});
    let (_, before) = view(&Schema::default(), loose);
    let schema = products();
    let holds =
        |filter: &str, view: &View| Filter::parse(filter, &schema).unwrap().matches(&view.fields);
    assert!(holds("at = '2024-01-01T00:00:00.5Z'", &before));
    assert!(holds("at > '2024-01-01T00:00:00.45Z'", &before));
    let (_, other) = view(&Schema::default(), json!({"at": "soon"}));
    assert!(!holds("at > '0001-01-01T00:00:00Z' or at < '9999-01-01T00:00:00Z'", &other));
}
