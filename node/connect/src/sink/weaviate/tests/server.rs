//! The Weaviate of the tests, over a real socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::fake::Weaviate;

pub(super) struct WeaviateTestServer {
    pub(super) url: String,
    there: Arc<Mutex<Weaviate>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for WeaviateTestServer {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            assert_eq!(self.there().wrong, Vec::<String>::new(), "requests that Weaviate refuses");
        }
    }
}

impl WeaviateTestServer {
    pub(super) async fn start() -> Self {
        let there: Arc<Mutex<Weaviate>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle).with_state(Arc::clone(&there));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, there, task }
    }

    pub(super) fn there(&self) -> MutexGuard<'_, Weaviate> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn handle(
    State(there): State<Arc<Mutex<Weaviate>>>,
    method: Method,
    uri: Uri,
    body: String,
) -> Response {
    let mut there = there.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, answer) = there.ask(method.as_str(), &uri.to_string(), &body);
    let status = StatusCode::from_u16(status).unwrap();
    let json = [(header::CONTENT_TYPE, "application/json")];
    match answer.is_empty() {
        true => status.into_response(),
        false if status == StatusCode::TOO_MANY_REQUESTS => {
            (status, json, [(header::RETRY_AFTER, "0")], answer).into_response()
        }
        false => (status, json, answer).into_response(),
    }
}
