//! A table as text: JSON, or a template with every store in it.
//!
//! What always holds: the same table gives the same text; a template that names what is not there is an error and no empty place;
//! names and addresses are all a template can put anywhere, and neither has a character that any of these formats
//! gives a meaning to.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use slot_types::front_end::RouteTable;
use slot_types::ids::{MapName, StoreName};
use std::collections::BTreeSet;

/// Templates of ours, by the map's name; an operator's own goes before them.
const BUILT_IN: [(&str, &str); 3] = [
    ("nginx-mail", include_str!("templates/nginx-mail.j2")),
    ("haproxy", include_str!("templates/haproxy.j2")),
    ("postfix-transport", include_str!("templates/postfix-transport.j2")),
];

/// What templates see, and what JSON says.
#[derive(Serialize)]
struct Shown<'a> {
    format: u16,
    front_end: &'a str,
    revision: u64,
    stores: Vec<Store<'a>>,
}

#[derive(Serialize)]
struct Store<'a> {
    name: &'a str,
    slot: String,
    host: &'a str,
    address: String,
    ip: String,
    port: u16,
    is_ipv6: bool,
    epoch: String,
    moving: bool,
}

fn shown<'a>(table: &'a RouteTable, moving: &BTreeSet<StoreName>) -> Shown<'a> {
    let stores = table.routes.iter().map(|(name, line)| Store {
        name: name.as_str(),
        slot: line.slot.to_string(),
        host: line.slot.host.as_str(),
        address: line.address.to_string(),
        ip: line.address.ip().to_string(),
        port: line.address.port(),
        is_ipv6: line.address.is_ipv6(),
        epoch: line.epoch.to_string(),
        moving: moving.contains(name),
    });
    Shown { format: 1, front_end: table.front_end.as_str(), revision: table.revision.0, stores: stores.collect() }
}

/// The text of a map. `template` is an operator's own.
pub fn render(
    map: &MapName,
    template: Option<&str>,
    table: &RouteTable,
    moving: &BTreeSet<StoreName>,
) -> Result<String, String> {
    let shown = shown(table, moving);
    let built_in = || BUILT_IN.iter().find(|(name, _)| *name == map.as_str()).map(|(_, text)| *text);
    let Some(text) = template.or_else(built_in) else {
        if map.as_str() == "json" {
            return serde_json::to_string_pretty(&shown).map(|text| text + "\n").map_err(|e| e.to_string());
        }
        let ours: Vec<&str> = std::iter::once("json").chain(BUILT_IN.map(|(name, _)| name)).collect();
        return Err(format!("there is no template {map}: set template of [map.{map}], or use {}", ours.join(", ")));
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| format!("template {map}: {error:#}"))?);
    environment
        .render_named_str(map.as_str(), text, Serde(&shown))
        .map_err(|error| format!("template {map}: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::front_end::TableLine;
    use slot_types::ids::*;
    use std::collections::BTreeMap;

    fn table() -> RouteTable {
        let line = |slot: &str, address: &str, n| TableLine {
            slot: slot.parse().unwrap(),
            address: address.parse().unwrap(),
            epoch: Epoch { generation: 0, n },
            moving_ms: None,
        };
        RouteTable {
            cluster: ClusterId([1; 16]),
            generation: 0,
            revision: Revision(48_211),
            front_end: "fe1".parse().unwrap(),
            render: BTreeSet::new(),
            routes: BTreeMap::from([
                ("store23".parse().unwrap(), line("imap7/31", "10.20.7.31:7430", 9)),
                ("store24".parse().unwrap(), line("imap8/02", "10.20.8.2:7430", 2)),
                ("store25".parse().unwrap(), line("imap9/02", "[fd00::9]:7430", 2)),
            ]),
        }
    }

    fn of(map: &str) -> String {
        let moving = BTreeSet::from(["store24".parse().unwrap()]);
        render(&map.parse().unwrap(), None, &table(), &moving).unwrap()
    }

    #[test]
    fn json() {
        insta::assert_snapshot!(of("json"));
    }
    #[test]
    fn nginx_mail() {
        insta::assert_snapshot!(of("nginx-mail"));
    }
    #[test]
    fn haproxy() {
        insta::assert_snapshot!(of("haproxy"));
    }
    #[test]
    fn postfix_transport() {
        insta::assert_snapshot!(of("postfix-transport"));
    }

    #[test]
    fn an_operators_template_goes_first_and_faults_are_named() {
        let map = |template| render(&"json".parse().unwrap(), Some(template), &table(), &BTreeSet::new());
        let line = "{% for store in stores %}{{ store.name }}={{ store.ip }} {% endfor %}{{ revision }}";
        assert_eq!(map(line).unwrap(), "store23=10.20.7.31 store24=10.20.8.2 store25=fd00::9 48211");
        for wrong in ["{{ store.name }}", "{% for s in stores %}{{ s.adress }}{% endfor %}", "{% for"] {
            assert!(map(wrong).unwrap_err().contains("template json"), "{wrong}");
        }
        let why = render(&"squid".parse().unwrap(), None, &table(), &BTreeSet::new()).unwrap_err();
        assert!(why.contains("[map.squid]") && why.contains("haproxy"), "{why}");
    }
}
