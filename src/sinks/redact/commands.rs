//! Passwords that programs take behind a short flag: `mysql -phunter2`, `curl -u user:hunter2`. What has a long
//! flag with a telling name, [`super::secrets`] finds.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;

use super::quotes::Quotes;
use super::secrets::{Secret, is_name};
use super::words::{Word, Words, unquoted};

/// A program, its flag, and how the password stands behind it.
const FLAGS: &[(&str, &str, Stands)] = &[
    ("mysql", "-p", Stands::Joined),
    ("mariadb", "-p", Stands::Joined),
    ("sshpass", "-p", Stands::Apart),
    ("mongo", "-p", Stands::Apart),
    ("redis-cli", "-a", Stands::Apart),
    ("ldapsearch", "-w", Stands::Apart),
    (LOGIN, "-p", Stands::Apart),
    ("curl", "-u", Stands::BehindUser),
    ("curl", "--user", Stands::BehindUser),
];
static PROGRAMS: LazyLock<Option<Searcher>> = LazyLock::new(|| Searcher::new(FLAGS.iter().map(|(name, ..)| *name)));
/// Of these programs, and none by itself.
const LOGIN: &str = "login";
const ENGINES: [&[u8]; 3] = [b"docker", b"podman", b"nerdctl"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// `-phunter2`; apart it would be a name of something else.
    Joined,
    /// `-p hunter2`, or joined.
    Apart,
    /// `-u user:hunter2`, or joined.
    BehindUser,
}

/// Whether one of the programs is called, with a flag that may be its own.
pub(super) fn is_suspect(text: &[u8]) -> bool {
    let mut known = Rows(0);
    programs(text).any(|from| {
        let new = Rows::of(&text[from..]).0 & !known.0;
        known.0 |= new;
        Rows(new).rows().any(|(_, flag, _)| memchr::memmem::find(&text[from..], flag.as_bytes()).is_some())
    })
}

/// Adds every password. The words of a command are read once for all programs that are words of it; where one stands
/// within a word of another's, that text is read again. A text of which that makes several times its length was made to
/// be slow, and the rest of it counts as secret.
pub(super) fn find(text: &[u8], quotes: &Quotes<'_>, found: &mut Vec<Secret>) {
    let programs: Vec<usize> = programs(text).collect();
    let mut is_read = vec![false; programs.len()];
    let mut left = 8 * text.len() + (64 << 10);
    for (number, from) in programs.iter().copied().enumerate() {
        if is_read[number] {
            continue;
        }
        if left == 0 {
            found.push(Secret { range: from..text.len(), rule: "password", quotes: None });
            break;
        }
        let begin = program(text, from);
        let (mut called, mut end, mut ahead) = (Rows(0), begin.end, number);
        let mut words = Words::behind(text, quotes, begin);
        while let Some(word) = words.next() {
            // Those that the word before calls.
            while let Some(at) = programs.get(ahead).copied().filter(|at| *at < word.range.start) {
                let program = program(text, at);
                let is_last = |behind: &[u8]| is_all(behind, is_quote) || is_all(behind, is_plain);
                let is_word = text.get(program.end..end).is_some_and(is_last)
                    && Words::behind(text, quotes, program).is_like(&words);
                if ahead == number || is_word {
                    is_read[ahead] = true;
                    called.0 |= Rows::of(&text[at..]).0;
                }
                ahead += 1;
            }
            end = word.end;
            found.extend(passwords(text, called, &word, &words));
        }
        left = left.saturating_sub(end - from);
    }
}

fn is_all(text: &[u8], is_one: impl Fn(u8) -> bool) -> bool {
    text.iter().all(|byte| is_one(*byte))
}

fn is_quote(byte: u8) -> bool {
    b"\"'\\".contains(&byte)
}

fn is_plain(byte: u8) -> bool {
    !is_quote(byte) && !byte.is_ascii_whitespace()
}

/// Rows of [`FLAGS`], a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows(u16);

impl Rows {
    /// Those of the program that a command begins with.
    fn of(command: &[u8]) -> Rows {
        let of = |(number, (name, ..)): (usize, &(&str, &str, Stands))| {
            u16::from(command.starts_with(name.as_bytes())) << number
        };
        Rows(FLAGS.iter().enumerate().map(of).fold(0, |rows, row| rows | row))
    }

    fn rows(self) -> impl Iterator<Item = &'static (&'static str, &'static str, Stands)> {
        FLAGS.iter().enumerate().filter(move |(number, _)| self.0 >> number & 1 == 1).map(|(_, row)| row)
    }
}

/// Where programs of the list begin.
fn programs(text: &[u8]) -> impl Iterator<Item = usize> {
    let is_login = |at: usize| {
        let before = &text[at.saturating_sub(24)..at];
        let len = before.iter().rev().take_while(|byte| b" \t\\\"',".contains(byte)).count();
        len > 0 && ENGINES.iter().any(|engine| before[..before.len() - len].ends_with(engine))
    };
    let is_begun = move |at: &usize| {
        (*at == 0 || !is_name(text[at - 1])) && (!text[*at..].starts_with(LOGIN.as_bytes()) || is_login(*at))
    };
    PROGRAMS.iter().flat_map(|programs| programs.find_iter(text)).map(|found| found.start()).filter(is_begun)
}

/// The word that calls it: `/usr/bin/mysqldump`.
fn program(text: &[u8], at: usize) -> Range<usize> {
    let is_part = |byte: &&u8| is_name(**byte) || b"./".contains(byte);
    let before = text[..at].iter().rev().take(128).take_while(is_part).count();
    let len = text[at..].iter().take(128).take_while(is_part).count();
    at - before..at + len
}

/// The passwords in a word behind such programs, or behind that: for each program what it would take for one.
fn passwords<'t>(text: &'t [u8], called: Rows, word: &Word, behind: &Words<'t>) -> impl Iterator<Item = Secret> {
    let word = word.range.clone();
    called.rows().filter_map(move |(_, flag, stands)| {
        let (range, quotes) = password(text, (flag, *stands), word.clone(), behind.clone())?;
        Some(Secret { range, rule: "password", quotes })
    })
}

fn password(
    text: &[u8],
    (flag, stands): (&str, Stands),
    word: Range<usize>,
    mut behind: Words<'_>,
) -> Option<(Range<usize>, Option<usize>)> {
    if !text[word.clone()].starts_with(flag.as_bytes()) {
        return None;
    }
    let from = word.start + flag.len();
    let joined = match text[from..word.end].first() {
        // `--username` is another flag.
        Some(byte) if flag.starts_with("--") && *byte != b'=' => return None,
        Some(b'=') => from + 1..word.end,
        _ => from..word.end,
    };
    let (value, quotes) = match joined.is_empty() {
        true if stands == Stands::Joined => return None,
        true => behind.next().map(|word| (word.range, word.quotes))?,
        false => (unquoted(text, joined), None),
    };
    let value = match stands {
        Stands::BehindUser => {
            let colon = memchr::memchr(b':', &text[value.clone()])?;
            unquoted(text, value.start + colon + 1..value.end)
        }
        _ => value,
    };
    (!value.is_empty()).then_some((value, quotes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text.as_bytes(), &Quotes::of(text.as_bytes()), &mut found);
        found.dedup_by(|one, before| one.range == before.range);
        assert!(is_suspect(text.as_bytes()) || found.is_empty(), "{text}");
        found.into_iter().map(|secret| &text[secret.range]).collect()
    }

    #[test]
    fn passwords_behind_short_flags() {
        for (text, password) in [
            ("mysql -u root -phunter2 db", "hunter2"),
            ("mysqldump -uroot -phunter2", "hunter2"),
            (r#"["mysql","-u","root","-phunter2"]"#, "hunter2"),
            (r#"{\"Cmd\":[\"mysql\",\"-phunter2\"]}"#, "hunter2"),
            ("sshpass -p hunter2 ssh host", "hunter2"),
            (r#"["sshpass","-p","hunter 2","ssh"]"#, "hunter 2"),
            ("redis-cli -a 'hunter2' ping", "hunter2"),
            ("curl -s -u admin:hunter2 http://x", "hunter2"),
            ("/usr/bin/curl --user admin:hunter2 http://x", "hunter2"),
            ("docker login -u me -p hunter2 registry", "hunter2"),
            (r#"["/usr/bin/docker","login","-u","me","-p","hunter2"]"#, "hunter2"),
            (r#"["sshpass", "-p", 1234567, "ssh"]"#, "1234567"),
            (r#"['mysql', '-phunter2']"#, "hunter2"),
            (r#"{\"Cmd\":[\"mysql\",\"-pa b hunter2\"]}"#, "a b hunter2"),
            (r#"{"Cmd":["mysql","-e","select 1; x","-pa b;hunter2","db"]}"#, "a b;hunter2"),
            (r#"argc=3 a0="curl" a1="-u" a2="me:hunter2""#, "hunter2"),
            ("argc=3 a0=\"sshpass\" a1=\"-p\" a2=68756E746572 a3=\"x\"", "68756E746572"),
            // A quoted piece, alone or joined, in a shell and in a text of JSON.
            ("mysql -p'hunter2' db", "hunter2"),
            ("mysql -p'a hunter;2' db", "a hunter;2"),
            ("mysql -p\"a hunter2\" db", "a hunter2"),
            ("mysql -pa'b hunter2'c db", "a'b hunter2'c"),
            (r"mysql -pa\ hunter2 db", r"a\ hunter2"),
            ("mysql '-pa hunter2' db", "a hunter2"),
            ("'mysql' \"-pa hunter2\" db", "a hunter2"),
            ("sh -c 'mysql -phunter2' x", "hunter2"),
            ("(mysql -phunter2)", "hunter2"),
            (r#"{"c":"mysql -p\"a hunter2\" db"}"#, "a hunter2"),
            (r#"{"c":"mysql -p'a hunter2' db"}"#, "a hunter2"),
            (r#"["sh","-c","mysql -p\"a hunter2\" db"]"#, "a hunter2"),
            (r#"{"l":"{\"c\":\"mysql -p\\\"a hunter2\\\" db\"}"}"#, "a hunter2"),
            (r#"{"c":"mysql\t-phunter2\nnext -pa"}"#, "hunter2"),
            ("curl -u me:'a;b hunter2' x", "a;b hunter2"),
            (r#"{"c":"curl -u\"me:a;b hunter2\""}"#, "a;b hunter2"),
            ("curl -ume:hunter2 x", "hunter2"),
            // What ends a command does not within quotes.
            ("curl -d 'a=b;c|d' -u me:hunter2 x", "hunter2"),
            ("mysql -e \"select 1; select 2\" -phunter2", "hunter2"),
            (r#"{"c":"mysql -u \"a;b & c\" -phunter2"}"#, "hunter2"),
            ("mysql -h x \\\n  -phunter2", "hunter2"),
            // One program within the words of another, or behind it, and each with flags of its own.
            ("docker login mysql.example.com -u me -p hunter2", "hunter2"),
            ("mongodump --db mysql_mirror -u me -p hunter2", "hunter2"),
            (r#"["docker","exec","mysql","sshpass","-p","hunter2","ssh","x"]"#, "hunter2"),
            ("mysql-01 CRON[12]: (root) CMD (docker login -u me -p hunter2 registry)", "hunter2"),
            ("curl sshpass -u -phunter2", "hunter2"),
            (r#"node=mysql-01 type=EXECVE argc=2 a0="mysql" a1="-phunter2""#, "hunter2"),
            (r#"comm="sshpass" exe="/usr/bin/sshpass" argc=3 a0="sshpass" a1="-p" a2="hunter2""#, "hunter2"),
            (r#"mysql-01 exec ["mysql" , "-phunter2"]"#, "hunter2"),
            (r#"mysql-01 [ "sshpass" , "-p" , "hunter2" ]"#, "hunter2"),
            ("curl -d 'mysql -phunter2' url", "hunter2"),
            ("sudo mysql curl x -phunter2", "hunter2"),
            ("curl x 'mysql' -u a -phunter2", "hunter2"),
        ] {
            assert_eq!(shown(text), [password], "{text}");
        }
    }

    #[test]
    fn long_commands_are_read_to_their_end() {
        let query = "x ".repeat(5_000);
        assert_eq!(shown(&format!("mysql -e '{query}' -phunter2 db")), ["hunter2"]);
        assert_eq!(shown(&format!("curl {query} -u me:hunter2 url")), ["hunter2"]);
        let errors = "curl: (22) error 404 ".repeat(31);
        assert_eq!(shown(&format!("{errors}sh -c 'mysql -phunter2' {}", "y ".repeat(1_500))), ["hunter2"]);
        let programs = "curlx curl ".repeat(5_000);
        assert_eq!(shown(&format!("{programs} mysql -u root -p\"a curl hunter2\" {programs}")), ["a curl hunter2"]);
    }

    #[test]
    fn other_flags_are_left() {
        for text in [
            "mysql -p db",
            "mkdir -p /a/b",
            "mysql -e x; mkdir -pv a",
            "curl -u admin http://x",
            "libcurl -u a:b",
            "docker run -p 80:80 nginx",
            "sshpass -p",
            r#"{"a":"sshpass -p","b":"c"}"#,
            r#"{"a":"mysql -p","d":"e f"}"#,
            r#"{"sshpass":"-p","b":"c"}"#,
            "curl --user-agent a:b x",
            "login -p hunter2",
            "mysql x && mkdir -pv a",
        ] {
            assert_eq!(shown(text), Vec::<&str>::new(), "{text}");
        }
    }
}
