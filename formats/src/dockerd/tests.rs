//! What is read from lines of every era, and who is believed.

use super::*;
use crate::{Choice, Offset, Value};

const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// As many pairs as an event may have keys; what stands behind them is kept as one text.
#[test]
fn pairs_are_counted() {
    let line = format!("time=\"2026-11-21T09:03:20Z\" level=info msg=x {}end=1", "a=b ".repeat(3_000));
    let mut event = Event::new(line.as_bytes());
    parse(line.as_bytes(), &CONTEXT, &mut event).unwrap();
    assert_eq!((event.text(Field::ParseStatus), event.text(Field::Msg)), (Some("partial"), Some("x")));
    assert!(event.extras().len() <= KEYS_MAX as usize + 1);
    let rest = event.extras().next_back().unwrap();
    assert!(rest.name.is_empty() && matches!(rest.value, Value::Str(text) if text.ends_with("a=b end=1")));
}

fn check(input: &str, expected: &[(Field, &str)]) {
    let input = input.replace("<id>", ID);
    let mut event = Event::new(input.as_bytes());
    crate::parse(Choice::Auto, input.as_bytes(), &CONTEXT, &mut event);
    assert_eq!(event.text(Field::Format), Some("dockerd"), "{input}");
    for (field, value) in expected {
        let value = value.replace("<id>", ID);
        assert_eq!(event.text(*field).unwrap_or("-"), value, "{input}: {}", field.name());
    }
}

use Field::{ContainerId, EventClass, ExecCommand, HttpUrl, ImageRef, Msg, Outcome, Reason};

#[test]
fn the_request_line_in_four_eras() {
    let create = (EventClass, "container.create");
    check("[info] POST /v1.14/containers/create?name=x", &[create, (HttpUrl, "/v1.14/containers/create?name=x")]);
    check(
        "[debug] server.go:1036 Calling POST /containers/create",
        &[create, (Msg, "Calling POST /containers/create")],
    );
    check("[9e2cc6bc] +job create(x)", &[(EventClass, "daemon.log"), (Msg, "+job create(x)")]);
    check("time=\"2015-05-14T08:50:02-04:00\" level=\"info\" msg=\"POST /v1.18/containers/create\" ", &[create]);
    check(
        "time=\"2015-05-14T08:50:02-04:00\" level=info msg=\"+job log(create, <id>, a/b:1)\"",
        &[create, (ContainerId, "<id>"), (ImageRef, "a/b:1")],
    );
    check(
        "time=\"2026-11-21T09:02:27.1Z\" level=debug msg=\"Calling POST /v1.41/containers/create?name=web\"",
        &[create],
    );
    check(
        "time=\"2026-11-21T09:12:01Z\" level=debug msg=\"handling POST request\" form-data=\"{\\\"AttachStdin\\\":false,\
         \\\"Cmd\\\":[\\\"id\\\"],\\\"Image\\\":\\\"probe:1\\\"}\" method=POST module=api \
         request-url=\"/v1.50/containers/create?name=web\" vars=\"map[version:1.50]\"",
        &[create, (ImageRef, "probe:1"), (HttpUrl, "/v1.50/containers/create?name=web")],
    );
}

#[test]
fn terminal_and_json() {
    check("INFO[0069] POST /containers/create                      ", &[(EventClass, "container.create")]);
    check("WARN[0001] a  b                                          error=\"x y\"", &[(Msg, "a  b")]);
    check("ERRO[2026-11-21T09:01:39.16Z] stream copy error: x", &[(Outcome, "failure"), (Msg, "stream copy error: x")]);
    check(
        "{\"level\":\"info\",\"msg\":\"API listen on /run/docker.sock\",\"time\":\"2026-11-21T09:01:39Z\"}",
        &[(EventClass, "daemon.listen"), (Msg, "API listen on /run/docker.sock")],
    );
}

#[test]
fn failures_have_a_reason() {
    let failed = (Outcome, "failure");
    check(
        "time=\"2026-11-21T09:03:24Z\" level=error msg=\"Handler for POST /v1.41/containers/<id>/start returned error: no: caps\"",
        &[(EventClass, "container.start"), (ContainerId, "<id>"), failed, (Reason, "no: caps")],
    );
    check(
        "time=\"2026-11-21T09:12:04Z\" level=debug msg=\"error response for POST request\" error-response=\"no \\\"x\\\"\" \
         method=POST module=api request-url=/v1.50/containers/<id>/start status=400",
        &[(EventClass, "container.start"), (ContainerId, "<id>"), failed, (Reason, "no \"x\"")],
    );
    check(
        "time=\"2026-11-21T09:12:04Z\" level=error msg=\"Handler for POST /containers/{name:.*}/start returned error\" \
         error-response=\"boom\" method=POST request-url=/v1.52/containers/web/start",
        &[(EventClass, "container.start"), (Field::ContainerName, "web"), failed, (Reason, "boom")],
    );
}

#[test]
fn signs_of_life() {
    for (message, class) in [
        ("Starting up", "daemon.start"),
        ("Daemon has completed initialization", "daemon.ready"),
        ("Processing signal 'terminated'", "daemon.signal"),
        ("Default bridge (docker0) is assigned with an IP address 172.17.0.0/16.", "daemon.bridge"),
        ("Container failed to exit within 1s of signal 15 - using the force", "container.kill"),
        ("anything else", "daemon.log"),
    ] {
        check(
            &format!("time=\"2026-11-21T09:03:24Z\" level=info msg=\"{message}\" container=<id>"),
            &[(EventClass, class), (ContainerId, "<id>"), (Msg, message)],
        );
    }
    check(
        "time=\"2026-11-21T09:03:24Z\" level=info msg=\"ignoring event\" container=<id> topic=/tasks/delete",
        &[(EventClass, "container.task_delete")],
    );
}

#[test]
fn a_value_cannot_forge_a_pair() {
    check(
        "time=\"2026-11-21T09:03:24Z\" level=info msg=\"x\\\" level=panic msg=\\\"POST /containers/create\" ",
        &[(EventClass, "daemon.log"), (Msg, "x\" level=panic msg=\"POST /containers/create"), (Outcome, "-")],
    );
    check(
        "time=\"2026-11-21T09:03:24Z\" level=debug msg=\"form data: {\\\"AttachStdin\\\":true,\\\"Cmd\\\":[\\\"sh\\\",\\\"-c\\\"]}\"",
        &[(ExecCommand, "sh -c")],
    );
}

#[test]
fn behind_syslog_only_the_daemon_is_believed() {
    let line = |tag: &str| {
        format!("Nov 21 09:03:24 vm {tag}: time=\"2026-11-21T09:03:24.5Z\" level=info msg=\"POST /containers/create\"")
    };
    for (tag, format, class) in [
        ("dockerd[7]", "rfc3164+dockerd", Some("container.create")),
        ("docker", "rfc3164+dockerd", Some("container.create")),
        ("docker/web[7]", "rfc3164", None),
        ("00a8660c4ab0[7]", "rfc3164", None),
        ("nginx", "rfc3164", None),
    ] {
        let line = line(tag);
        let mut event = Event::new(line.as_bytes());
        crate::parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut event);
        assert_eq!((event.text(Field::Format), event.text(EventClass)), (Some(format), class), "{line}");
        assert_eq!(event.text(Field::HostName), Some("vm"));
    }
}
