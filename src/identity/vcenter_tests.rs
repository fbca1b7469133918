//! vCenter's answers, as the simulator of govmomi gives them, and bad ones.

#![allow(clippy::unwrap_used)]

use super::super::stub;
use super::*;

fn object(kind: &str, reference: &str, properties: &[(&str, &str)]) -> String {
    let set: String = properties
        .iter()
        .map(|(name, value)| format!("<propSet><name>{name}</name><val>{value}</val></propSet>"))
        .collect();
    format!("<objects><obj type=\"{kind}\">{reference}</obj>{set}</objects>")
}

fn soap(method: &str, returned: &str) -> String {
    format!(
        "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>\
         <{method}Response xmlns=\"urn:vim25\">{returned}</{method}Response></soapenv:Body></soapenv:Envelope>"
    )
}

const CONTENT: &str = "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
    <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
    <viewManager type=\"ViewManager\">ViewManager</viewManager>\
    <about><instanceUuid>aa11bb22-0000-4000-8000-000000000001</instanceUuid></about>\
    <sessionManager type=\"SessionManager\">SessionManager</sessionManager></returnval>";

fn pages() -> [String; 2] {
    let net = "<GuestNicInfo><ipAddress>192.0.2.7</ipAddress><ipAddress>fe80::1</ipAddress>\
               <macAddress>00:50:56:aa:bb:cc</macAddress></GuestNicInfo>";
    [
        object(
            "VirtualMachine",
            "vm-42",
            &[
                ("name", "web &amp; more"),
                ("config.uuid", "421f245c-7fa8-60fa-6af6-a46351ced0eb"),
                ("config.instanceUuid", "50011111-2222-3333-4444-555566667777"),
                ("config.template", "false"),
                ("guest.hostName", "web.example"),
                ("guest.ipAddress", "192.0.2.7"),
                ("guest.net", net),
                ("runtime.host", "host-9"),
                ("runtime.powerState", "poweredOn"),
                ("parent", "group-v7"),
            ],
        ) + "<token>1</token>",
        object("HostSystem", "host-9", &[("name", "esx1.example")])
            + &object("Folder", "group-v3", &[("name", "vm"), ("parent", "datacenter-2")])
            + &object("Folder", "group-v6", &[("name", "prod"), ("parent", "group-v3")])
            + &object("Folder", "group-v7", &[("name", "web"), ("parent", "group-v6")])
            + &object("VirtualMachine", "vm-43", &[("name", "tpl"), ("config.template", "true")])
            + &object("VirtualMachine", "vm-44", &[("config.template", "false")]),
    ]
}

/// As strict as the real one in what it is asked.
fn answer(request: &stub::Request) -> stub::Answer {
    // An ESXi host has no tags.
    if request.path == "/api/session" || request.path == "/rest/com/vmware/cis/session" {
        return stub::Answer::new(404, "");
    }
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/sdk"));
    assert!(request.header("soapaction").is_some_and(|action| action.starts_with("urn:vim25")));
    let body = xml::read(&request.body).unwrap();
    let call = body[0].0.at(&["Body"]).unwrap();
    let has = |name: &str| call.at(&[name]).is_some();
    let is_in = request.header("cookie") == Some("vmware_soap_session=\"abc\"");
    let fault = |text: &str| {
        let text = format!(
            "<Envelope><Body><Fault><faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring></Fault></Body></Envelope>"
        );
        stub::Answer::new(500, &text)
    };
    if has("RetrieveServiceContent") {
        return stub::Answer::new(200, &soap("RetrieveServiceContent", CONTENT));
    }
    if has("Login") {
        if call.text_at(&["Login", "password"]) != "p&ss" {
            return fault("Cannot complete login due to an incorrect user name or password.");
        }
        let session = "vmware_soap_session=\"abc\"; Path=/; HttpOnly; Secure;";
        return stub::Answer::new(200, &soap("Login", "<returnval/>")).with("Set-Cookie", session);
    }
    if !is_in {
        return fault("The session is not authenticated.");
    }
    let [first, second] = pages();
    let text = match () {
        () if has("CreateContainerView") => {
            soap("CreateContainerView", "<returnval type=\"ContainerView\">session[1]</returnval>")
        }
        () if has("RetrievePropertiesEx") => {
            assert_eq!(call.text_at(&["RetrievePropertiesEx", "options", "maxObjects"]), "500");
            assert_eq!(call.text_at(&["RetrievePropertiesEx", "specSet", "objectSet", "obj"]), "session[1]");
            soap("RetrievePropertiesEx", &format!("<returnval>{first}</returnval>"))
        }
        () if has("ContinueRetrievePropertiesEx") => {
            assert_eq!(call.text_at(&["ContinueRetrievePropertiesEx", "token"]), "1");
            soap("ContinueRetrievePropertiesEx", &format!("<returnval>{second}</returnval>"))
        }
        () if has("DestroyView") => soap("DestroyView", ""),
        () if has("Logout") => soap("Logout", ""),
        () => return fault("unknown method"),
    };
    stub::Answer::new(200, &text)
}

fn options(url: String, password: &str) -> Options {
    Options {
        url,
        user: "reader@vsphere.local".to_owned(),
        password: Secret::inline(password),
        tls: ClientTls::default(),
        tags: true,
        page: page(),
        every: provider::every(),
        timeout: provider::timeout(),
    }
}

#[tokio::test]
async fn machines_with_their_hosts_and_folders_over_several_pages() {
    let server = stub::serve(answer).await;
    let told = options(server.url(), "p&ss").open().unwrap().ask().await.unwrap();
    let Told::Machines(inventory) = told else { panic!("{told:?}") };
    let [web] = inventory.entries.as_slice() else { panic!("{inventory:#?}") };
    assert_eq!((web.name.as_str(), web.moref.as_str(), web.power.as_str()), ("web & more", "vm-42", "on"));
    assert_eq!(web.vcenter, "aa11bb22-0000-4000-8000-000000000001");
    assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
    assert_eq!(web.instance_uuid, Uuid::parse("50011111-2222-3333-4444-555566667777"));
    assert_eq!((web.group.as_str(), web.runs_on.as_str()), ("/prod/web", "esx1.example"));
    let told = &web.reported;
    assert_eq!((told.addresses.len(), told.macs.len(), told.host_names.len()), (2, 1, 1));
    assert_eq!(inventory.notes[0].text, "`vm-44` has no name yet: left out");
    let calls = server.bodies();
    assert!(calls.iter().any(|body| body.contains("<Logout ")), "the session is given back");
    assert!(calls.iter().any(|body| body.contains("<DestroyView ")));
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let server = stub::serve(answer).await;
    let ask = |url: String, password: &'static str| async move {
        options(url, password).open().unwrap().ask().await.unwrap_err().to_string()
    };
    let error = ask(server.url(), "wrong").await;
    assert_eq!(error, "Login: Cannot complete login due to an incorrect user name or password.");
    assert!(!error.contains("wrong"));
    for (body, expected) in [
        ("<html>", "RetrieveServiceContent: it is cut off"),
        ("<html></html>", "RetrieveServiceContent: it answers 200 without SOAP: is `url` right?"),
        ("<Envelope><Body/></Envelope>", "it says nothing of itself: is `url` that of a vCenter?"),
    ] {
        let server = stub::serve(move |_| stub::Answer::new(200, body)).await;
        assert_eq!(ask(server.url(), "p").await, expected);
    }
    let server = stub::serve(|_| stub::Answer::new(302, "").with("Location", "http://127.0.0.1:1/")).await;
    assert_eq!(ask(server.url(), "p").await, "RetrieveServiceContent: it answers 302");
}

#[test]
fn a_password_goes_over_tls_alone() {
    for (url, is_good) in [
        ("https://vcenter.example", true),
        ("http://127.0.0.1:8989", true),
        ("http://vcenter.example", false),
        ("https://user:secret@vcenter.example", false),
        ("vcenter.example", false),
    ] {
        assert_eq!(options(url.to_owned(), "p").check().is_empty(), is_good, "{url}");
    }
}

/// Each answer alone is small enough.
#[tokio::test]
async fn all_pages_together_are_bounded() {
    let padding = format!("<!--{}-->", "x".repeat(700 << 10));
    let server = stub::serve(move |request| answer(request).behind(&padding)).await;
    let error = options(server.url(), "p&ss").open().unwrap().ask().await.unwrap_err().to_string();
    assert_eq!(error, "Login: it answers more than 1048576 bytes");
}
