//! What is found in texts, what is left, and that nothing is passed over.
#![allow(clippy::unwrap_used)]

use super::*;

fn shown(text: &str) -> Vec<(&'static str, &str)> {
    let found = find(text.as_bytes());
    assert!(is_suspect(text.as_bytes()) || found.is_empty(), "{text}");
    found.into_iter().map(|secret| (secret.rule, &text[secret.range])).collect()
}

#[test]
fn secrets_are_found_by_their_names() {
    for (text, rule, secret) in [
        ("DB_PASSWORD=hunter2 X=1", "password", "hunter2"),
        (r#"{"password": "a\"b\\"}"#, "password", r#"a\"b\\"#),
        (r#"{"log":"{\"api_key\":\"k\\\"1\",\"x\":1}"}"#, "key", r#"k\\\"1"#),
        (r#"{"log":"{\"token\":\"t\\\\\",\"x\":1}"}"#, "token", r"t\\\\"),
        ("curl -H 'Authorization: Bearer abcdefghijklmnop' x", "authorization", "abcdefghijklmnop"),
        ("Authorization: Basic dXNlcjpwYXNz", "authorization", "dXNlcjpwYXNz"),
        ("mysql --password hunter2 -u root", "password", "hunter2"),
        (r#"["mysql","--password","hunter2"]"#, "password", "hunter2"),
        (r#"["mysql","--db-pass=hunter2"]"#, "password", "hunter2"),
        ("postgres://app:hunter2@db/x", "url", "hunter2"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "key", "wJalrXUtnFEMI/K7MDENG"),
        ("id AKIAIOSFODNN7EXAMPLE used", "aws_key", "AKIAIOSFODNN7EXAMPLE"),
        ("got bearer abcdefgh12345678, ok", "bearer", "abcdefgh12345678"),
        (r#"{"secret":12345,"a":1}"#, "secret", "12345"),
        ("password='ünder score'", "password", "ünder score"),
        ("passwd: cut\"", "password", "cut"),
        ("token=\"never ends", "token", "never ends"),
        ("DB_PASSWORD=p@ss,w0rd&Xy9", "password", "p@ss,w0rd&Xy9"),
        (r#"["DB_PASSWORD=ab(cdEFG9","X=1"]"#, "password", "ab(cdEFG9"),
        (r#"{"log":"[\"DB_PASSWORD=a b\",\"X=1\"]"}"#, "password", "a b"),
        (r#"{"password"=>"hunter2"}"#, "password", "hunter2"),
        (r#"password := "hunter2""#, "password", "hunter2"),
        (r#"password == "hunter2""#, "password", "hunter2"),
        ("\"password\"\t:\n\t\"hunter2\"", "password", "hunter2"),
        ("password:\n  hunter2\n", "password", "hunter2"),
        ("MYSQL_PWD=hunter2", "password", "hunter2"),
        ("Uid=sa;Pwd=hun;ter2;Database=x", "password", "hun;ter2"),
        ("a?password=hunter2&user=bob", "password", "hunter2"),
        ("(password=hunter2), next", "password", "hunter2"),
        ("POSTGRES_PASSWORD_1=hunter2", "password", "hunter2"),
        ("SECRET_KEY_BASE=abc", "key", "abc"),
        ("AccountName=a;AccountKey=ab+/c==;EndpointSuffix=x", "key", "ab+/c=="),
        (r#"{"auths":{"r.io":{"auth":"dXNlcjpwYXNz"}}}"#, "auth", "dXNlcjpwYXNz"),
        ("postgres://u:p@ss@h", "url", "p@ss"),
        ("Authorization: Basic YTpi", "authorization", "YTpi"),
        (r#"{"log":"x\nAKIAIOSFODNN7EXAMPLE"}"#, "aws_key", "AKIAIOSFODNN7EXAMPLE"),
        ("password=[masked/hunter2", "password", "[masked/hunter2"),
        ("passwd\t= hunter2", "password", "hunter2"),
        (r"C:\u_pwd=hunter2", "password", "hunter2"),
        (r#"{"log":"passwd\t= hunter2"}"#, "password", "hunter2"),
        (r#"{"log":"a\npwd=hunter2\u0007pwd=-"}"#, "password", r"hunter2\u0007pwd=-"),
    ] {
        assert_eq!(shown(text), [(rule, secret)], "{text}");
    }
    let block = "-----BEGIN RSA PRIVATE KEY-----\\nMIIB\\n-----END RSA PRIVATE KEY-----";
    assert_eq!(shown(&format!("a {block} b")), [("private_key", block)]);
    assert_eq!(shown(&format!("a {}", &block[..40])), [("private_key", &block[..40])]);
    let pgp = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----";
    assert_eq!(shown(pgp), [("private_key", pgp)]);
    let jwt = format!("eyJ{}", "a.b-".repeat(12));
    assert_eq!(shown(&format!("<{jwt}>")), [("jwt", &*jwt)]);
    assert_eq!(find(br#"{\"secret\":7}"#).first().unwrap().quotes, Some(1));
}

/// `\t` before a name may be a tab in a text of JSON, or a folder: either way it is one.
#[test]
fn a_backslash_before_a_name_hides_nothing() {
    for text in [r"HKLM\Software\Foo\token=S3CRETAAAA1", r"login CORP\token=S3CRETAAAA1", r"a\npwd=S3CRETAAAA1"] {
        assert_eq!(find(text.as_bytes()).len(), 1, "{text}");
        assert!(is_suspect(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_only_sounds_like_one_is_left() {
    for text in [
        "Failed password for root from 10.0.0.1",
        "password=",
        r#"{"token":null,"password":true}"#,
        "bypass: yes",
        "PWD=/root",
        "OLDPWD=abc",
        "auth=success",
        "auth: Accepted publickey for root",
        "password=\nuser=bob",
        "tokens=3",
        "authorization: denied",
        "https://example.org/a:b@c",
        "docker run --secret source=db_password,target=x",
        "password=[masked/password/7/0123456789abcdef]",
        "xAKIAIOSFODNN7EXAMPLE AKIA",
        "-----BEGIN CERTIFICATE-----",
        "==:=:=::=",
        "",
    ] {
        assert_eq!(shown(text), [], "{text}");
    }
}

/// The short looks pass over nothing that the rules would find.
#[test]
fn nothing_is_passed_over() {
    const PIECES: &[&str] = &[
        "password",
        "PASSWD",
        "=",
        ":",
        "\"",
        "\\\"",
        "\\\\\\\"",
        " ",
        "--",
        "--token",
        "pwd",
        "_1",
        "9",
        "://u:p@h",
        "eyJ",
        "AKIA",
        "earer ",
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "auth",
        "_auth",
        "Authorization",
        "secret_key_base",
        "key",
        "_key",
        "[masked/",
        "\n",
        "\\n",
        "xoxb--",
        "ghp_",
        "github_pat_",
        "_",
        "-",
        "'",
        ",",
        "{",
        "}",
        "ä",
        "a",
        "Z",
        "\t",
        "version",
        "class",
        "dXNlcjpwYXNz1",
        "\u{1}",
        "\r",
        "://u:",
        "@h",
    ];
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut with_secrets = 0;
    for _ in 0..60_000 {
        let text: String = (0..random.usize(1..14)).filter_map(|_| random.choice(PIECES)).copied().collect();
        let text = text.as_bytes();
        let all = find_where(text, &Quotes::of(text), |_, end| end > 0, true, |_| true);
        assert_eq!(find(text), all, "{:?}", String::from_utf8_lossy(text));
        // As it stands in a line, behind escapes.
        let line = serde_json::to_string(&*String::from_utf8_lossy(text)).unwrap();
        for text in [text, line.as_bytes()] {
            assert!(all.is_empty() || is_suspect(text), "{:?}", String::from_utf8_lossy(text));
        }
        with_secrets += usize::from(!all.is_empty());
    }
    assert!(with_secrets > 5_000, "{with_secrets}");
}

/// A line made to be slow costs as much as any other.
#[test]
fn time_is_linear() {
    for piece in [
        "password=",
        "token=\\\\\\\"",
        "\\\"token\\\":\\\"",
        "a://b:",
        "--token \"=",
        "-----BEGIN ",
        "--",
        "eyJ-",
        "'password=a ",
        "password=a&",
        "password=)",
        "-----BEGIN PRIVATE KEY",
        "=:",
        "\\",
    ] {
        let text = piece.repeat((256 << 10) / piece.len());
        let worked = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec;
        let start = worked();
        std::hint::black_box((is_suspect(text.as_bytes()), find(text.as_bytes()).len()));
        // A square would take a minute.
        assert!(worked() - start < 5, "{piece:?}: {} s", worked() - start);
    }
}
