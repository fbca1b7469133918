//! A server for tests of providers: one answer for each request, by a function that may be as strict as it likes.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What was asked; names of headers in small letters.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub(super) struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    pub(super) fn new(status: u16, body: &str) -> Answer {
        Answer { status, headers: String::new(), body: body.to_owned() }
    }

    /// The same, and more behind it.
    pub(super) fn behind(mut self, more: &str) -> Answer {
        self.body.push_str(more);
        self
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }
}

pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|request| request.body.clone()).collect()
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|request| request.path.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let request = loop {
                if let Some(request) = whole(&bytes) {
                    break request;
                }
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request is cut off");
            };
            seen.lock().unwrap().push(request.clone());
            let Answer { status, headers, body } = answer(&request);
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            // Whoever has seen enough closes.
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    Server { address, asked, task }
}

/// The request, when all of it is there.
fn whole(bytes: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    (body.len() >= length).then(|| Request { method, path, headers, body: body.to_owned() })
}
