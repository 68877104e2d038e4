//! The JSON documents, held to `docs/json.md` and `docs/schema`.
//!
//! What always holds: the files hold the shape of what is really printed, made from the same values as the transcripts;
//! every schema has a file, every command a row, every field a meaning, and nothing is described that is not there.
//! `UPDATE_SCHEMA=1` writes the files anew: look at the difference, and raise the version when a field went away.

use super::fixtures::*;
use clap::CommandFactory;
use serde_json::{Value, json};
use slot_net::{Identity, Initialized, Membership, Role};
use slot_types::cluster::LossState;
use slot_types::ids::*;
use slot_types::position::Digest;
use slot_types::view::*;
use slotctl::args::Cli;
use slotctl::asks::Pairs;
use slotctl::failure::{Exit, Failure};
use slotctl::json::{self, Document, Of, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// What values of one place look like: which scalars, the shape of elements, the shape of fields.
#[derive(Clone, Default)]
struct Shape {
    scalars: BTreeSet<&'static str>,
    elements: Option<Box<Shape>>,
    fields: Option<BTreeMap<String, (bool, Shape)>>,
}

/// Names of hosts, stores and slots are data, not fields.
fn is_name(key: &str) -> bool {
    !key.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
}

impl Shape {
    fn of(value: &Value) -> Self {
        let mut shape = Self::default();
        match value {
            Value::Null => drop(shape.scalars.insert("null")),
            Value::Bool(_) => drop(shape.scalars.insert("boolean")),
            Value::Number(_) => drop(shape.scalars.insert("number")),
            Value::String(_) => drop(shape.scalars.insert("string")),
            Value::Array(all) => {
                let elements = all.iter().map(Self::of).reduce(Self::merge);
                shape.elements = Some(Box::new(elements.unwrap_or_default()));
            }
            Value::Object(map) => {
                let mut fields: BTreeMap<String, (bool, Self)> = BTreeMap::new();
                for (key, value) in map {
                    let key = if is_name(key) { "*".to_string() } else { key.clone() };
                    let before = fields.remove(&key).map(|(_, shape)| shape).unwrap_or_default();
                    fields.insert(key, (false, before.merge(Self::of(value))));
                }
                shape.fields = Some(fields);
            }
        }
        shape
    }

    fn merge(mut self, other: Self) -> Self {
        self.scalars.extend(other.scalars);
        self.elements = match (self.elements, other.elements) {
            (Some(a), Some(b)) => Some(Box::new(a.merge(*b))),
            (a, b) => a.or(b),
        };
        self.fields = match (self.fields, other.fields) {
            (Some(a), Some(mut b)) => {
                let mut both = BTreeMap::new();
                for (key, (optional, shape)) in a {
                    let merged = match b.remove(&key) {
                        Some((also, other)) => (optional || also, shape.merge(other)),
                        None => (true, shape),
                    };
                    both.insert(key, merged);
                }
                both.extend(b.into_iter().map(|(key, (_, shape))| (key, (true, shape))));
                Some(both)
            }
            (a, b) => a.or(b),
        };
        self
    }

    /// As it is written: a field that is not always there ends in `?`, `*` stands for names.
    fn written(&self) -> Value {
        let scalars = self.scalars.iter().copied().collect::<Vec<_>>().join("|");
        let mut all = Vec::new();
        if !scalars.is_empty() {
            all.push(Value::String(scalars));
        }
        all.extend(self.elements.as_ref().map(|inner| match inner.written() {
            Value::Null => json!([]),
            inner => json!([inner]),
        }));
        all.extend(self.fields.as_ref().map(|fields| {
            let written = |(key, (optional, shape)): (&String, &(bool, Self))| {
                (if *optional && key != "*" { format!("{key}?") } else { key.clone() }, shape.written())
            };
            Value::Object(fields.iter().map(written).collect())
        }));
        match all.len() {
            0 => Value::Null,
            1 => all.remove(0),
            _ => json!({ "one of": all }),
        }
    }

    fn names(&self, into: &mut BTreeSet<String>) {
        if let Some(elements) = &self.elements {
            elements.names(into);
        }
        for (key, (_, shape)) in self.fields.iter().flatten() {
            into.insert(key.clone());
            shape.names(into);
        }
    }
}

const LIVE: Of = Of { revision: Some(Revision(7)), confirmed: Some(true) };
const FILE: Of = Of { revision: None, confirmed: None };

fn looked_at(view: View) -> Document {
    json::view(&view, true)
}

/// A drain that met copies that differ: one is compared already.
fn differing() -> PlanView {
    let mut view = drain_view(PlanState::Paused, TaskProgress::NotDone);
    let findings = super::verify::differing(3);
    view.tasks[1].differs = Some(Differs { slot: slot(8, 2), findings: Some(findings) });
    view.tasks[2].differs = Some(Differs { slot: slot(10, 2), findings: None });
    view
}

/// Documents of a schema that show every field and every kind of value they may have.
fn documents(schema: Schema) -> Vec<Document> {
    let (plan, ended) = (drain_plan(), drain_view(PlanState::Done, TaskProgress::Done));
    let digest = Digest::of(&ended.bytes);
    let cases = || {
        [
            loss_case(12, LossState::Listed),
            loss_case(13, LossState::AwaitingReturn),
            loss_case(9, LossState::Reinjected { by: who("alice") }),
        ]
    };
    match schema {
        Schema::Status => {
            [quiet(), trouble(), super::risk::status_with_loads()].map(|v| looked_at(View::Status(Box::new(v)))).into()
        }
        Schema::Hosts => vec![json::hosts(&trouble(), true)],
        Schema::Stores => vec![looked_at(View::Stores(super::fleet::stores_view()))],
        Schema::Slots => vec![looked_at(View::Slots(super::fleet::slots_view()))],
        Schema::Host => [host_view(), silent_host()].map(|v| looked_at(View::Host(Box::new(v)))).into(),
        Schema::Store => vec![looked_at(View::Store(Box::new(store_view())))],
        Schema::Slot => {
            let line = store_view().copies[1].clone();
            let taken = SlotView { line, size_bytes: 500, store: Some(store_view()) };
            let free = SlotView { line: host_view().slots.pop().unwrap(), size_bytes: 500, store: None };
            [taken, free].map(|v| looked_at(View::Slot(Box::new(v)))).into()
        }
        Schema::Risks => {
            let unknown = RisksView { losses: unknown("only the leader hears agents"), ..super::risk::risks_view() };
            let no_pairs = Pairs { looked_at: 0, worst: None, not_looked: Some("too many".into()) };
            let known = json::risks(&super::risk::risks_view(), &super::risk::pairs(), Some(true));
            let loads = json::risks(&super::risk::risks_with_loads(), &super::risk::pairs(), Some(true));
            vec![known, loads, json::risks(&unknown, &no_pairs, None)]
        }
        Schema::Risk => {
            let unknown = RiskView { loss: unknown("only the leader hears agents"), ..super::risk::risk_view() };
            [super::risk::risk_view(), super::risk::risk_with_loads(), unknown]
                .map(|v| looked_at(View::Risk(Box::new(v))))
                .into()
        }
        Schema::Evidence => [super::evidence::evidence_view(), super::evidence::off_view()]
            .map(|v| looked_at(View::Evidence(Box::new(v))))
            .into(),
        Schema::Verify => vec![looked_at(View::Verify(super::verify::verify_view()))],
        Schema::Explain => {
            use super::explain::*;
            let unknown = ExplainView { explained: unknown("only the leader hears agents"), ..explain_plan_view() };
            [explain_plan_view(), explain_store_view(), explain_slot_view(), unknown]
                .map(|v| looked_at(View::Explain(Box::new(v))))
                .into()
        }
        Schema::Plans => vec![looked_at(View::Plans(super::plans()))],
        Schema::Plan => [ended, differing()].map(|view| json::plan(&view, &plan, &digest)).into(),
        Schema::Proposal => vec![json::proposal("p17", &plan, &digest, 1, "slotctl plan approve p17")],
        Schema::Approved => vec![json::approved("p17", "oncall")],
        Schema::PlanEnded => {
            let mut other = plan.clone();
            other.intent = slot_types::plan::Intent::UndrainHost(host(3));
            [(ended, plan.clone()), (differing(), plan), (drain_view(PlanState::Done, TaskProgress::Done), other)]
                .map(|(view, plan)| {
                    let ending = slotctl::text::plan::ending(&view, &plan, &[host_view()]);
                    json::ending(&view, &plan, &digest, &ending)
                })
                .into()
        }
        Schema::LossCases => vec![looked_at(View::LossCases(cases().into()))],
        Schema::LossCase => cases().map(|case| looked_at(View::LossCase(Box::new(case)))).into(),
        Schema::Audit => vec![looked_at(View::Audit(super::audit()))],
        Schema::AuditVerified => {
            let broken = ChainBreak::Gap { expected: 413, found: 414 };
            [super::verified(None), super::verified(Some(broken))].iter().map(json::verified).collect()
        }
        Schema::Event => super::audit().entries.iter().map(json::event).collect(),
        Schema::Invitations => vec![looked_at(View::Invitations(invitations_view()))],
        Schema::Invited => vec![json::invited(&host(3), Path::new("imap3.token"), &digest)],
        Schema::Error => vec![json::error(&Failure::new("drain host", "imap3", "it is silent", "start it"))],
        _ => asked(schema),
    }
}

/// Of whole fleets, and of what is written to files.
fn asked(schema: Schema) -> Vec<Document> {
    match schema {
        Schema::Done => vec![
            json::done("reject plan", "p17", Exit::Done),
            json::held("hold", "host imap3", true, &[PlanId(17)]),
            json::held("release", "all", false, &[]),
            json::nothing_to_do("drain host", "imap3", "imap3 is in Maintenance", Some(true)),
            json::nothing_to_plan("rebalance", "cluster.json", "it is even", &super::offline::left_of_too_full()),
        ],
        Schema::Backup => vec![json::backup(&super::backup_head(), Path::new("fm1.backup"), 48_213)],
        Schema::Init => vec![json::initialized(&initialized())],
        Schema::Routes => vec![looked_at(View::Routes(super::routes_view()))],
        Schema::RoutesChange => vec![json::routes_change(&routes_reply())],
        Schema::Offline => {
            vec![json::offline(&super::offline::stats()), json::offline(&super::offline::stats_of_too_full())]
        }
        Schema::OfflinePlan => vec![json::offline_plan(&super::snapshots::planned())],
        Schema::OfflineExplain => {
            super::offline_explain::placements().iter().map(|one| json::answer(schema, one, FILE)).collect()
        }
        Schema::OfflineRisk => vec![json::answer(schema, &super::snapshots::htools_risk(), FILE)],
        Schema::Whatif => super::snapshots::whatifs().iter().map(|then| json::answer(schema, then, LIVE)).collect(),
        Schema::Capacity => super::snapshots::rooms().iter().map(|room| json::answer(schema, room, FILE)).collect(),
        Schema::ServiceGroups => vec![json::answer(schema, &super::snapshots::groups(), LIVE)],
        Schema::Snapshot => {
            let well = super::clusters::snapshot(&super::clusters::world::World::running(3, 2, 2, 2));
            vec![json::snapshot(&super::clusters::with_everything()), json::snapshot(&well)]
        }
        other => panic!("no document of {}", other.name()),
    }
}

fn routes_reply() -> slot_proto::pb::RoutesReply {
    let route = slot_proto::pb::StoreRoute {
        store: "store23".into(),
        slot: "imap7/31".into(),
        address: "10.20.7.31:7430".into(),
        epoch_generation: 0,
        epoch_n: 9,
    };
    slot_proto::pb::RoutesReply { revision: 7, routes: vec![route] }
}

fn initialized() -> Initialized {
    let membership = Membership {
        format: slot_net::MEMBERSHIP_FORMAT,
        cluster: ClusterName::new("fm1").unwrap(),
        cluster_id: ClusterId([0xc1; 16]),
        coordinators: BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "10.1.1.3:7400".parse().unwrap())]),
    };
    let folder = PathBuf::from("cluster/operator-oncall");
    let who = Identity::new(Role::Operator, "oncall").unwrap();
    Initialized { membership, ca: PathBuf::from("cluster/ca"), folders: BTreeMap::from([(folder, who)]) }
}

fn shape(schema: Schema) -> Shape {
    documents(schema)
        .iter()
        .map(|document| Shape::of(document))
        .reduce(Shape::merge)
        .expect("every schema has a document")
}

fn file_of(schema: Schema) -> PathBuf {
    docs().join("schema").join(format!("{}.json", schema.name()))
}

#[test]
fn every_document_has_the_shape_its_file_says() {
    let mut wrong = Vec::new();
    for schema in Schema::ALL {
        let shape = shape(*schema).written();
        let written = json!({ "schema": schema.name(), "version": schema.version(), "shape": shape });
        let text = format!("{written:#}\n");
        let path = file_of(*schema);
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(docs().join("schema")).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            wrong.push(schema.name());
        }
    }
    assert!(wrong.is_empty(), "docs/schema differs from what is printed: {wrong:?}; see the head of this file");
    let files = std::fs::read_dir(docs().join("schema")).unwrap().count();
    assert_eq!(files, Schema::ALL.len(), "a file in docs/schema is of no schema");
}

#[test]
fn every_document_says_its_schema_and_version() {
    for schema in Schema::ALL {
        for document in documents(*schema) {
            assert_eq!(document["schema"], schema.name());
            assert_eq!(document["version"], schema.version());
            assert!(!document.to_string().contains("not_representable"), "{}", schema.name());
        }
    }
}

/// The first cells of all rows below a heading, without their back quotes.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, after) = text.split_once(&format!("## {heading}\n")).expect("the heading is there");
    let section = after.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `") || line.starts_with("| ["));
    rows.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect()).collect()
}

/// All commands that can be given: `plan show`.
pub(super) fn commands(command: &clap::Command, name: &str) -> Vec<String> {
    let inner: Vec<&clap::Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    let itself = (inner.is_empty() || !command.is_subcommand_required_set()) && !name.is_empty();
    let below = inner.iter().flat_map(|sub| commands(sub, format!("{name} {}", sub.get_name()).trim()));
    below.chain(itself.then(|| name.to_string())).collect()
}

#[test]
fn every_command_and_every_schema_is_in_the_table() {
    let text = std::fs::read_to_string(docs().join("json.md")).unwrap();
    let rows = rows(&text, "Which command prints what");
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)).collect();
    let all = commands(&Cli::command(), "");
    let all: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(named, all, "docs/json.md names other commands than there are");
    let linked: BTreeSet<&str> = rows.iter().flat_map(|row| row[1].split("](schema/").skip(1)).collect();
    let linked: BTreeSet<&str> = linked.iter().map(|link| link.split_once(".json)").unwrap().0).collect();
    let schemas: BTreeSet<&str> = Schema::ALL.iter().map(|schema| schema.name()).collect();
    assert_eq!(linked, schemas, "docs/json.md links other schemas than there are");
}

#[test]
fn every_field_has_a_meaning() {
    let text = std::fs::read_to_string(docs().join("json.md")).unwrap();
    let rows = rows(&text, "Fields");
    let meant: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').to_string()).collect();
    assert_eq!(meant.len(), rows.len(), "a field is in docs/json.md twice");
    assert!(rows.iter().all(|row| row.len() == 2 && row[1].len() > 3), "a field has no meaning");
    let mut names = BTreeSet::new();
    Schema::ALL.iter().for_each(|schema| shape(*schema).names(&mut names));
    // Variants begin with a capital letter and are explained where they are.
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    let missing: Vec<&String> = names.difference(&meant).collect();
    let gone: Vec<&String> = meant.difference(&names).collect();
    assert!(missing.is_empty() && gone.is_empty(), "docs/json.md: not described {missing:?}; not there {gone:?}");
}

#[test]
fn a_field_more_or_less_is_another_shape() {
    let all = shape(Schema::Done).written();
    let mut more = Value::clone(&documents(Schema::Done)[0]);
    more["new"] = 1.into();
    assert_ne!(Shape::of(&more).merge(shape(Schema::Done)).written(), all);
    let less = Shape::of(&documents(Schema::Done)[0]).written();
    assert_ne!(less, all);
    assert_eq!(all["nothing_to_do?"], "string", "{all}");
    let merged = Shape::of(&json!({ "imap3/07": 1, "imap7/31": null })).written();
    assert_eq!(merged, json!({ "*": "null|number" }), "names are data");
}
