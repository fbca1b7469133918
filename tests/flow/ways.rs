//! How web sinks reach their receivers: through a proxy, and never to addresses that are nobody's receiver.

use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use wharfinger::sinks::http::HttpConfig;
use wharfinger::sinks::splunk_hec::SplunkHecConfig;
use wharfinger::sinks::{Sink, SinkConfig, SinkState};

use super::splunk_hec::{ids, names, start};
use crate::support::flow::{Flow, wait_for};
use crate::support::hec_server::{Dialect, HecServer, TOKEN};
use crate::support::pki::Pki;
use crate::support::web_server::WebServer;

/// A proxy that wants `me:PASSWORD`, and what it was asked: first lines, and whether it let them pass.
struct Proxy {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<(String, bool)>>>,
    password: Arc<Mutex<&'static str>>,
}

impl Proxy {
    async fn start(password: &'static str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            password: Arc::new(Mutex::new(password)),
        };
        let (asked, password) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.password));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(stream, Arc::clone(&asked), Arc::clone(&password)));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> Vec<(String, bool)> {
        self.asked.lock().unwrap().clone()
    }
}

/// One connection: its first request says where it goes.
async fn pass(mut client: TcpStream, asked: Arc<Mutex<Vec<(String, bool)>>>, password: Arc<Mutex<&'static str>>) {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|four| four == b"\r\n\r\n") {
        if client.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let text = String::from_utf8_lossy(&heard).into_owned();
    let first = text.lines().next().unwrap_or_default().to_owned();
    let wanted = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("me:{}", *password.lock().unwrap()))
    };
    let is_ours = text.lines().any(|line| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == format!("Basic {wanted}")
        })
    });
    asked.lock().unwrap().push((first.clone(), is_ours));
    if !is_ours {
        let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(refused.as_bytes()).await;
        return;
    }
    let target = first.split(' ').nth(1).unwrap();
    let is_tunnel = first.starts_with("CONNECT ");
    let place = target.strip_prefix("http://").map_or(target, |rest| rest.split('/').next().unwrap());
    let mut server = TcpStream::connect(place).await.unwrap();
    match is_tunnel {
        true => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap(),
        false => server.write_all(&heard).await.unwrap(),
    }
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

fn http(flow: &Flow, options: serde_json::Value) -> Box<dyn Sink> {
    let config: HttpConfig = serde_json::from_value(options).unwrap();
    assert_eq!(config.check(), []);
    config.open(&flow.context("siem")).unwrap()
}

#[tokio::test]
async fn requests_go_through_the_proxy() {
    let (flow, server, proxy) =
        (Flow::new(), WebServer::start(|_| (200, String::new())).await, Proxy::start("pw").await);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "pw\n").unwrap();
    let options = json!({
        "url": format!("{}/in", server.url()), "format": "raw",
        "proxy": { "url": proxy.url(), "user": "me", "password": { "file": password } },
    });
    flow.append(names(3)).await;
    let running = start(&flow, http(&flow, options));
    wait_for("all events", || running.stats.delivered_total() == 3).await;
    running.finish().await;
    assert_eq!(server.lines(), names(3));
    assert_eq!(proxy.asked(), [(format!("POST http://{}/in HTTP/1.1", server.address), true)]);
    assert!(server.taken().iter().all(|seen| !seen.headers.contains_key("x-forwarded-for")));
}

/// A wrong password loses nothing, and one that is renewed in its file is used without a restart.
#[tokio::test]
async fn a_collector_behind_a_proxy_that_refuses_us_for_a_while() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect { acks: true, ..Dialect::default() }).await);
    let (proxy, folder) = (Proxy::start("renewed").await, tempfile::tempdir().unwrap());
    let password = folder.path().join("password");
    fs::write(&password, "old").unwrap();
    let options = json!({
        "endpoint": server.url(), "token": TOKEN, "format": "raw",
        "proxy": { "url": proxy.url(), "user": "me", "password": { "file": password } },
    });
    let config: SplunkHecConfig = serde_json::from_value(options).unwrap();
    assert_eq!(config.check(), []);
    flow.append(names(3)).await;
    let running = start(&flow, config.open(&flow.context("siem")).unwrap());
    wait_for("a refusal", || running.stats.state() == SinkState::Retrying).await;
    assert!(running.stats.last_error().unwrap().contains("407"), "{:?}", running.stats.last_error());
    fs::write(&password, "renewed").unwrap();
    wait_for("all events", || running.stats.delivered_total() == 3).await;
    let stats = running.finish().await;
    assert_eq!((server.ids(), stats.quarantined_total()), (ids(&flow, 3), 0));
}

/// What is sent to an `https` receiver goes through a tunnel: the proxy is told where, and nothing else.
#[tokio::test]
async fn a_tunnel_for_tls() {
    let (flow, folder) = (Flow::new(), tempfile::tempdir().unwrap());
    let pki = Pki::create(folder.path());
    let (acceptor, listener) = (pki.acceptor(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::start("pw").await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.current().accept(stream).await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"event 1\n") {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0);
        }
        assert!(!String::from_utf8_lossy(&heard).to_ascii_lowercase().contains("proxy-authorization"));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        let _ = stream.read_buf(&mut heard).await;
    });
    let options = json!({
        "url": format!("https://{address}/"), "format": "raw",
        "tls": { "ca": pki.authority, "certificate": pki.client.certificate, "key": pki.client.key },
        "proxy": { "url": proxy.url(), "user": "me", "password": "pw" },
    });
    flow.append(names(1)).await;
    let running = start(&flow, http(&flow, options));
    wait_for("the event", || running.stats.delivered_total() == 1).await;
    running.finish().await;
    assert_eq!(proxy.asked(), [(format!("CONNECT {address} HTTP/1.1"), true)]);
}

#[test]
fn wrong_ways_are_named() {
    let hec = |options: serde_json::Value| {
        let mut all = json!({ "endpoint": "https://splunk.example:8088", "token": TOKEN });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        serde_json::from_value::<SplunkHecConfig>(all).unwrap().check()
    };
    let web = |options: serde_json::Value| {
        let mut all = json!({ "url": "https://receiver.example" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        serde_json::from_value::<HttpConfig>(all).unwrap().check()
    };
    for (options, option, message) in [
        (json!({ "proxy": { "url": "proxy:3128" } }), "proxy.url", "it is no `http` URL"),
        (json!({ "proxy": { "url": "https://proxy" } }), "proxy.url", "it is no `http` URL"),
        (json!({ "proxy": { "url": "http://me:pw@proxy" } }), "proxy.url", "a user and his password belong"),
        (json!({ "proxy": { "url": "http://169.254.169.254" } }), "proxy.url", "169.254.169.254 is link-local"),
        (json!({ "proxy": { "url": "http://p", "user": "me" } }), "proxy.user", "a user and his password belong"),
        (json!({ "tls": { "server_name": "a" } }), "tls.server_name", "the name is that of the URL"),
    ] {
        for problems in [hec(options.clone()), web(options.clone())] {
            let [problem] = &*problems else { panic!("{options}: {problems:?}") };
            assert!(problem.option == option && problem.message.starts_with(message), "{problem:?}");
            assert!(!problem.message.contains("pw"), "{problem:?}");
        }
    }
    for address in ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[::ffff:169.254.1.1]", "2852039166"] {
        let url = format!("http://{address}:8088/a");
        let endpoints = json!({ "endpoints": [url] });
        for (problems, option) in [
            (hec(json!({ "endpoint": url })), "endpoint"),
            (hec(endpoints.clone()), "endpoints"),
            (web(json!({ "url": url })), "url"),
        ] {
            assert_eq!(problems.len(), 1, "{url}: {problems:?}");
            assert!(problems[0].option == option && problems[0].message.contains("allow_link_local"), "{problems:?}");
        }
        let allowed = json!({ "url": url, "endpoint": url, "allow_link_local": true });
        assert_eq!(hec(json!({ "endpoint": url, "allow_link_local": true })), [], "{allowed}");
        assert_eq!(web(json!({ "url": url, "allow_link_local": true })), [], "{allowed}");
    }
}

/// A URL that is read from a file may change: what it then leads to is refused as well, and nothing is lost.
#[tokio::test]
async fn a_url_that_comes_to_lead_elsewhere_is_not_followed() {
    let (flow, server) = (Flow::new(), WebServer::start(|_| (200, String::new())).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    fs::write(&file, "http://169.254.169.254/").unwrap();
    let options = json!({ "url": { "file": file }, "format": "raw" });
    let config: HttpConfig = serde_json::from_value(options).unwrap();
    assert_eq!(config.check().len(), 1);
    let error = config.open(&flow.context("siem")).err().unwrap().to_string();
    assert!(error.contains("url"), "{error}");
    // No redirect is followed, not even once.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    fs::write(&file, format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let location = server.url();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"event 1\n") && stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {}
            let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    flow.append(names(1)).await;
    let running = start(&flow, http(&flow, json!({ "url": { "file": file }, "format": "raw" })));
    wait_for("three tries", || running.stats.retries_total() >= 3).await;
    let stats = running.finish().await;
    assert_eq!((stats.delivered_total(), stats.quarantined_total(), server.seen().len()), (0, 0, 0));
}
