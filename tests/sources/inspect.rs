//! Containers that are looked at: what of them becomes an event, and what is said of those that could not be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::docker::{VERSION, engine_that, event_of, socket};
use super::{Running, Seen, Yard, within};

fn id(number: usize) -> String {
    // The first digits tell them apart, as those of an engine do.
    format!("{:016x}{number:048x}", u64::MAX - number as u64)
}

/// What the engine says of a container; its environment must go nowhere.
fn described(id: &str) -> String {
    format!(
        r#"{{"Id":"{id}","Name":"/web","Image":"sha256:{image}","Config":{{"Image":"web:1","User":"","Env":["KEY=s3cret"]}},
        "HostConfig":{{"Privileged":true,"Binds":["/etc:/host"],"CapAdd":["SYS_ADMIN"]}},"Mounts":null}}"#,
        image = "17".repeat(32),
    )
}

fn start(yard: &Yard) -> Running {
    yard.start("docker", json!({"socket": socket(yard)}))
}

/// The id of an event of this journal.
fn event_id(yard: &Yard, event: &Seen) -> String {
    format!("{}-{:016}", yard.journal.incarnation(), event.position)
}

fn is_look(event: &&Seen) -> bool {
    event.field("event_class") == "container.inspect"
}

#[tokio::test]
async fn a_container_is_looked_at_once_and_names_its_cause() {
    let mut yard = Yard::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let mut engine = engine_that(&socket(&yard), VERSION, move |path| {
        noted.lock().unwrap().push(path.to_owned());
        Some(match path.split('/').collect::<Vec<_>>()[2..] {
            ["containers", "json"] => (200, format!(r#"[{{"Id":"{}"}},{{"Id":"{}"}}]"#, id(1), id(9))),
            ["containers", known, "json"] if known == id(1) || known == id(9) => (200, described(known)),
            ["images", ..] => (200, r#"{"RepoDigests":["registry.example/web@sha256:99"]}"#.to_owned()),
            _ => (404, r#"{"message":"No such container"}"#.to_owned()),
        })
    });
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_of(&id(1), 900, "create"), event_of(&id(2), 800, "create")]).await;
    let mut events = yard.events(5).await;
    // Whether the list comes before the events or behind them is chance.
    events.sort_by_key(|event| {
        (event.field("container.id") != id(1), event.field("container.id") != id(2), event.position)
    });
    let causes = [event_id(&yard, &events[0]), event_id(&yard, &events[2])];
    let [created, look, _, gone, running] = &events[..] else { panic!("{events:?}") };
    assert_eq!((created.field("event_class"), look.field("event_class")), ("container.create", "container.inspect"));
    if look.field("inspect.of") == "create" {
        assert_eq!(look.field("cause"), causes[0]);
    } else {
        assert_eq!(look.field("inspect.of"), "running");
    }
    for (name, expected) in [
        ("outcome", "success"),
        ("container.name", "web"),
        ("image.ref", "web:1"),
        ("image.digest", "sha256:99"),
        ("inspect.privileged", "Bool(true)"),
        ("inspect.user", "root"),
        ("inspect.host_mounts", r#"["/etc"]"#),
        ("inspect.capabilities", r#"["SYS_ADMIN"]"#),
        ("peer", socket(&yard).to_str().unwrap()),
    ] {
        assert_eq!(look.field(name), expected, "{name} of {look:?}");
    }
    assert!(!look.raw().contains("s3cret") && look.raw().contains("SYS_ADMIN"), "{}", look.raw());
    assert_eq!((gone.field("outcome"), gone.field("cause")), ("failure", &*causes[1]));
    assert_eq!(gone.field("reason"), "not recorded: the container was gone before it could be looked at");
    assert_eq!((running.field("container.id"), running.field("inspect.of")), (&*id(9), "running"));

    // It was looked at when it was made; nobody needs to be told of the image twice.
    stream.events(&[event_of(&id(1), 700, "start"), event_of(&id(9), 600, "start")]).await;
    assert_eq!(yard.events(2).await.iter().filter(is_look).count(), 0);
    source.stop().await;
    yard.is_empty().await;
    let asked = asked.lock().unwrap();
    let image = format!("/v1.41/images/sha256:{}/json", "17".repeat(32));
    assert_eq!(asked.iter().filter(|path| **path == image).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn nobody_is_forgotten_when_the_engine_does_not_answer() {
    const COUNT: usize = 1100;
    let mut yard = Yard::new();
    let answers = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&answers);
    let mut engine = engine_that(&socket(&yard), VERSION, move |path| {
        let list = path.ends_with("/containers/json");
        let is_known = list || is_well.load(Relaxed);
        is_known.then(|| if list { (200, "[]".to_owned()) } else { (200, described("x")) })
    });
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    let events: Vec<_> = (0..COUNT).map(|number| event_of(&id(number), 900_000 - number as i64, "create")).collect();
    stream.events(&events).await;
    // The reader waits for nobody: all are taken, and those for whom there was no room say so at once.
    let mut all = Vec::new();
    while all.iter().filter(|event| !is_look(event)).count() < COUNT {
        all.extend(yard.events(1).await);
    }
    // There was no room for the last one, and that stands behind it.
    all.extend(yard.events(1).await);
    source.stop().await;
    let unseen: Vec<_> = all.iter().filter(is_look).collect();
    for event in &unseen {
        assert_eq!((event.field("outcome"), event.field("cause")), ("failure", "-1"), "{event:?}");
        assert!(event.field("reason").contains("more containers were started"), "{event:?}");
    }
    assert!((1..=COUNT - 1024).contains(&unseen.len()), "{}", unseen.len());

    // The others are looked at by the next run, and not again by the one after that.
    answers.store(true, Relaxed);
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&events[COUNT - 1..]).await;
    let rest = yard.events(COUNT - unseen.len()).await;
    assert!(rest.iter().all(|event| is_look(&event) && event.field("outcome") == "success"));
    let ids: BTreeSet<&str> = rest.iter().chain(unseen).map(|event| event.field("container.id")).collect();
    assert_eq!(ids.len(), COUNT);
    source.stop().await;
    let source = start(&yard);
    within(engine.recv()).await.unwrap();
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn a_proxy_that_forbids_it_is_told_of() {
    let mut yard = Yard::new();
    let mut engine = engine_that(&socket(&yard), VERSION, |_| Some((403, "forbidden".to_owned())));
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_of(&id(1), 900, "create"), event_of("../../x", 800, "start")]).await;
    let events = yard.events(5).await;
    let reasons: BTreeSet<&str> = events.iter().filter(is_look).map(|event| event.field("reason")).collect();
    let expected = [
        format!("not recorded: the engine answered 403 Forbidden to `GET /containers/{}/json`", id(1)),
        "not recorded: `/v1.41/containers/../../x/json` is no path of the API".to_owned(),
        "not recorded: no list of the running containers: the engine answered 403 Forbidden to `GET /containers/json`"
            .to_owned(),
    ];
    assert_eq!(reasons, expected.iter().map(String::as_str).collect());
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_is_left_over_is_given_up_when_it_is_switched_off() {
    let mut yard = Yard::new();
    let mut engine =
        engine_that(&socket(&yard), VERSION, |path| path.ends_with("rs/json").then(|| (200, "[]".to_owned())));
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_of(&id(1), 900, "create")]).await;
    assert_eq!(yard.events(1).await[0].field("event_class"), "container.create");
    source.stop().await;
    let source = yard.start("docker", json!({"socket": socket(&yard), "inspect": false}));
    let event = yard.events(1).await.remove(0);
    assert_eq!(event.field("reason"), "not recorded: looking at containers was switched off");
    assert_eq!(event.field("container.id"), id(1));
    source.stop().await;
    yard.is_empty().await;
}

/// An event of the container with these attributes beside name and image.
fn event_with(nanos_before_now: i64, action: &str, attributes: &str) -> String {
    let name = r#""image":"alpine","name":"web""#;
    event_of(&id(1), nanos_before_now, action).replace(name, &format!("{name}{attributes}"))
}

#[tokio::test]
async fn what_health_checks_run_is_left_out_once_they_are_known() {
    let mut yard = Yard::new();
    let mut engine = engine_that(&socket(&yard), VERSION, |path| {
        let health = r#"{"Config":{"Healthcheck":{"Test":["CMD-SHELL","true"]}}}"#;
        Some((200, if path.ends_with("/containers/json") { "[]" } else { health }.to_owned()))
    });
    let source = yard.start("docker", json!({"socket": socket(&yard), "exclude_health_checks": true}));
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_with(900, "create", "")]).await;
    assert_eq!(yard.events(2).await[1].field("outcome"), "success");
    let others = [
        event_with(500, "exec_create: sh ", r#","execID":"e2""#),
        event_with(300, "exec_die", r#","execID":"e2","exitCode":"0""#),
        event_with(200, "die", r#","exitCode":"3""#),
    ];
    let all = [
        event_with(800, "exec_create: /bin/sh -c true", r#","execID":"e1""#),
        event_with(700, "exec_start: /bin/sh -c true", r#","execID":"e1""#),
        event_with(600, "exec_die", r#","execID":"e1","exitCode":"0""#),
        others[0].clone(),
        others[1].clone(),
        others[2].clone(),
    ];
    stream.events(&all).await;
    let events = yard.events(3).await;
    assert_eq!(events.iter().map(Seen::raw).collect::<Vec<_>>(), others);
    assert_eq!((events[2].field("exit_code"), events[2].field("untrusted")), ("Int(3)", ""));
    assert_eq!(events[2].field("docker.exit_code_trusted"), "Bool(true)");
    assert_eq!(yard.stats.excluded.load(Relaxed), 3);

    // Where we stand is stored also when all that came was left out.
    stream.events(&[event_with(100, "exec_create: /bin/sh -c true", r#","execID":"e3""#)]).await;
    while yard.stats.excluded.load(Relaxed) < 4 {
        tokio::task::yield_now().await;
    }
    source.stop().await;
    let source = yard.start("docker", json!({"socket": socket(&yard), "exclude_health_checks": true}));
    let asked = within(engine.recv()).await.unwrap();
    assert_eq!(asked.path, "/v1.41/events?since=1795251798.999999900");
    source.stop().await;
}

#[tokio::test]
async fn containers_that_are_not_meant_are_neither_told_of_nor_looked_at() {
    let mut yard = Yard::new();
    let mut engine = engine_that(&socket(&yard), VERSION, |path| {
        let other = format!(r#"[{{"Id":"{}","Names":["/web"],"Image":"alpine","Labels":{{"team":"other"}}}}]"#, id(7));
        Some((200, if path.ends_with("/containers/json") { other } else { described("x") }))
    });
    let options =
        json!({"socket": socket(&yard), "include": {"names": ["web"]}, "exclude": {"labels": ["team=other"]}});
    let source = yard.start("docker", options);
    let mut stream = within(engine.recv()).await.unwrap();
    let wanted = event_with(900, "create", "");
    let other = event_with(800, "start", r#","team":"other""#).replace(&id(1), &id(2));
    let volume = r#"{"Type":"volume","Action":"create","Actor":{"ID":"v","Attributes":{"driver":"local"}},"timeNano":1795251799999999500}"#;
    stream.events(&[wanted.clone(), other, volume.to_owned()]).await;
    let events = yard.events(3).await;
    let raws: Vec<_> = events.iter().filter(|event| !is_look(event)).map(Seen::raw).collect();
    assert_eq!(raws, [wanted, volume.to_owned()]);
    assert_eq!(events.iter().find(is_look).map(|event| event.field("container.id")), Some(&*id(1)));
    source.stop().await;
    yard.is_empty().await;
    assert_eq!(yard.stats.excluded.load(Relaxed), 1);
}
