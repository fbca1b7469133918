//! The web page in a real browser: Chromium without a window, driven by chromedriver with real clicks and keys.
//!
//! `WHARFINGER_SCREENSHOTS=FOLDER` keeps what the browser showed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::process::{Process, eventually};

const WITHIN: Duration = Duration::from_secs(60);
/// The name that the protocol has for an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser that shows one page.
pub struct Browser {
    /// Ends with the browser; before its folder is removed.
    _driver: Process,
    port: u16,
    session: String,
    screenshots: Option<PathBuf>,
}

impl Browser {
    pub fn start(folder: &Path, scheme: &str) -> Browser {
        let mut command = Command::new("chromedriver");
        command.args(["--port=0", "--allowed-ips=127.0.0.1"]).env("TMPDIR", folder);
        let driver = Process::start("chromedriver", &mut command);
        let port = driver.wait_for("the port of chromedriver", WITHIN, |line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let arguments = [
            "--headless=new".to_owned(),
            // The tests run as root in a container of their own, and show nothing but the gateway's page.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--window-size=1400,1400".to_owned(),
            format!("--user-data-dir={}", folder.join("profile").display()),
            format!("--blink-settings=preferredColorScheme={}", if scheme == "dark" { 0 } else { 1 }),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = ask(port, "POST", "/session", &wanted);
        let session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).to_owned();
        let screenshots = std::env::var_os("WHARFINGER_SCREENSHOTS").map(PathBuf::from);
        Browser { _driver: driver, port, session, screenshots }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        ask(self.port, method, &format!("/session/{}{path}", self.session), body)
    }

    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({"url": url}));
    }

    /// The element, as soon as it is there.
    fn find(&self, selector: &str) -> String {
        eventually(selector, WITHIN, || {
            let found = self.ask("POST", "/element", &json!({"using": "css selector", "value": selector}));
            found[ELEMENT].as_str().map(str::to_owned)
        })
    }

    /// A real click in the middle of the element. What is drawn anew meanwhile is looked for again.
    fn click(&self, selector: &str) {
        eventually(selector, WITHIN, || {
            let element = self.find(selector);
            let answer = self.ask("POST", &format!("/element/{element}/click"), &json!({}));
            answer.is_null().then_some(())
        });
    }

    /// Keys, to whatever has the focus.
    fn press(&self, keys: &str) {
        let pressed: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": pressed}]});
        self.ask("POST", "/actions", &actions);
    }

    fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    pub fn wait_for(&self, piece: &str) {
        let mut last = String::new();
        eventually(piece, WITHIN, || {
            last = self.text();
            last.contains(piece).then_some(())
        });
    }

    /// Names in the first column of the table that is shown.
    fn names(&self) -> Vec<String> {
        let names = self.run("return [...document.querySelectorAll('tbody th')].map((cell) => cell.innerText)");
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    pub fn screenshot(&self, name: &str) {
        let Some(folder) = &self.screenshots else { return };
        let image = self.ask("GET", "/screenshot", &Value::Null);
        let bytes = base64::engine::general_purpose::STANDARD.decode(image.as_str().unwrap()).unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// Everything the browser complained of.
    fn complaints(&self) -> Vec<Value> {
        self.ask("POST", "/se/log", &json!({"type": "browser"})).as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes the browser; its driver ends with its process.
        self.ask("DELETE", "", &Value::Null);
    }
}

/// One call of the WebDriver protocol; the `value` of the answer, an error among them.
fn ask(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("chromedriver listens");
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = BufReader::new(stream);
    let mut bytes = 0;
    for line in answer.by_ref().lines() {
        let line = line.expect("a line of the head").to_ascii_lowercase();
        match line.strip_prefix("content-length:") {
            Some(number) => bytes = number.trim().parse().unwrap(),
            None if line.is_empty() => break,
            None => {}
        }
    }
    // It keeps the connection open, whatever it is asked for.
    let mut body = vec![0; bytes];
    answer.read_exact(&mut body).expect("the body of the answer");
    let mut answer: Value = serde_json::from_slice(&body).expect("an answer in JSON");
    answer["value"].take()
}

/// Sixty machines, of which some run Docker where they may not; a stranger whose name is markup.
fn gateway(folder: &Path) -> Gateway {
    let machine = |number: u32| {
        let (name, group) = if number < 4 { ("lab", "playground") } else { ("web", "prod") };
        format!("  - {{name: {name}-{number:02}, group: {group}}}\n")
    };
    let machines: String = (1..=60).map(machine).collect();
    fs::write(folder.join("vms.yaml"), format!("machines:\n{machines}")).unwrap();
    let config = format!(
        "identity:\n  inventory: [{}]\nsources:\n  in: {{type: syslog, mode: tcp, address: \"127.0.0.1:0\", identity: \
         relay}}\nsinks:\n  out: {{type: file, path: {}}}\n  archive: {{type: archive, path: {}}}\npolicy:\n  groups:\n    \
         playground: {{docker: allowed}}\n    prod: {{docker: forbidden, registries: [registry.example]}}\n    default: \
         {{unknown_senders: forbidden}}\n",
        folder.join("vms.yaml").display(),
        folder.join("out.ndjson").display(),
        folder.join("archive").display()
    );
    let gateway = Gateway::start(folder, &config);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for number in 1..=58 {
        let (name, image) = if number < 4 { ("lab", "nginx:1") } else { ("web", "docker.io/library/redis:7") };
        let host = format!("{name}-{number:02}");
        writeln!(stream, "<13>1 2026-11-22T07:00:00Z {host} app - - - a word").unwrap();
        if number <= 6 {
            writeln!(
                stream,
                r#"<134>1 2026-11-22T07:00:00Z {host} - - - - {{"status":"start","id":"aa","from":"{image}","Type":"container","Action":"start","Actor":{{"ID":"aa","Attributes":{{"image":"{image}","name":"c-{number}"}}}},"time":1795252321}}"#
            )
            .unwrap();
        }
    }
    writeln!(stream, "<13>1 2026-11-22T07:00:00Z <img/src=x/onerror=document.title='forged'> app - - - a word")
        .unwrap();
    eventually("the findings", WITHIN, || {
        let (_, body) = gateway.get("/api/compliance?per_page=1")?;
        let page: Value = serde_json::from_str(&body).ok()?;
        (page["counts"]["violating"] == 4 && page["counts"]["compliant"] == 55).then_some(())
    });
    gateway
}

#[test]
fn the_page_is_used_by_mouse_and_by_keys() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path());
    let browser = Browser::start(folder.path(), "light");
    browser.open(&format!("http://{}/", gateway.admin()));

    // Nobody sees anything without the token.
    browser.wait_for("Who are you?");
    browser.screenshot("token");
    browser.press("a guess\u{e007}");
    browser.wait_for("This is not the token.");
    browser.click("input[name='token']");
    browser.press(&format!("{}\u{e007}", gateway.token()));

    // The overview: badges, rates, the gravest findings.
    browser.wait_for("violate the policy");
    browser.wait_for("Docker runs where it is not allowed");
    browser.wait_for("Live, version");
    browser.screenshot("overview");
    browser.click("a[href='#/machines?state=violating']");
    browser.wait_for("4 of 62 machines");
    let stranger = "<img/src=x/onerror=document.title='forged'>";
    assert_eq!(browser.names(), [stranger, "web-04", "web-05", "web-06"]);
    assert_ne!(browser.run("return document.title"), "forged", "what an event says is text");
    browser.screenshot("violating");

    // Filters by real clicks and keys; the address can be shared.
    browser.click("nav a[data-view='machines']");
    browser.wait_for("62 of 62 machines");
    assert_eq!(
        browser.run("return document.querySelector('select[name=state]').value"),
        "",
        "fields follow the address"
    );
    browser.click("#pages button:last-child");
    browser.wait_for("Page 2 of 2");
    browser.screenshot("machines");
    browser.click("select[name='docker'] option[value='yes']");
    browser.wait_for("6 of 62 machines");
    browser.click("input[name='q']");
    browser.press("WEB-0");
    browser.wait_for("3 of 62 machines");
    let address = browser.run("return location.hash");
    assert_eq!(address, "#/machines?docker=yes&q=WEB-0");
    browser.click("select[name='group'] option[value='playground']");
    browser.wait_for("0 of 62 machines");

    // One machine, and the finding's cause.
    browser.open(&format!("http://{}/#/machine?key=web-05", gateway.admin()));
    browser.wait_for("1 container now, 1 in 24 h");
    browser.click("details summary");
    browser.wait_for("first seen");
    let cause = browser.run("return document.querySelector('details dd code').innerText");
    let events = fs::read_to_string(folder.path().join("out.ndjson")).unwrap();
    assert!(events.contains(&format!(r#""event_id":"{}""#, cause.as_str().unwrap())), "{cause}");
    browser.screenshot("machine");

    // What happens meanwhile is shown without a click, and what was opened stays open.
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    writeln!(
        stream,
        r#"<134>1 2026-11-22T07:00:00Z web-05 - - - - {{"status":"start","id":"bb","from":"a:1","Type":"container","Action":"start","Actor":{{"ID":"bb","Attributes":{{"image":"a:1","name":"late"}}}},"time":1795252321}}"#
    )
    .unwrap();
    browser.wait_for("2 containers now, 2 in 24 h");
    assert_eq!(browser.run("return document.querySelector('details').open"), true);

    // The same without a mouse: the skip link is the first stop, then the views.
    browser.open(&format!("http://{}/", gateway.admin()));
    browser.run("location.reload()");
    browser.wait_for("Live, version");
    let focused =
        || browser.run("return document.activeElement.innerText").as_str().unwrap_or_default().trim().to_owned();
    let tab = "\u{e004}";
    let mut stops = Vec::new();
    for _ in 0..5 {
        browser.press(tab);
        stops.push(focused());
    }
    assert_eq!(stops, ["Skip to content", "Wharfinger", "Overview", "Machines", "Findings"]);
    browser.press("\u{e007}");
    browser.wait_for("are open, the gravest first");
    browser.screenshot("findings");
    browser.click("nav a[data-view='pipeline']");
    browser.wait_for("What became of it, in events");
    assert_eq!(browser.run("return document.querySelector('nav a[aria-current]').innerText"), "Sources and sinks");
    browser.screenshot("pipeline");
    let mut complaints = browser.complaints();
    complaints.retain(|complaint| !complaint["message"].as_str().unwrap_or_default().contains("401 (Unauthorized)"));
    assert!(complaints.is_empty(), "{complaints:#?}");

    // A gateway that is gone is told of, and what is shown is called old.
    gateway.stop();
    browser.wait_for("What is shown is old");
}

#[test]
fn the_page_follows_the_wish_for_darkness() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path());
    let browser = Browser::start(folder.path(), "dark");
    browser.open(&format!("http://{}/#/findings?token={}", gateway.admin(), gateway.token()));
    browser.wait_for("Docker runs where it is not allowed");
    assert_eq!(browser.run("return location.hash"), "#/findings", "the token does not stay in the address");
    assert_eq!(browser.run("return matchMedia('(prefers-color-scheme: dark)').matches"), true);
    let ground = browser.run("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(ground, "rgb(16, 22, 29)");
    browser.screenshot("dark");
    gateway.stop();
}
