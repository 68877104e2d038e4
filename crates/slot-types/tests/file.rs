//! The cluster file: the example parses to exactly what it says, and every fault is refused at its place.

use slot_types::cluster::{EngineKind, Policy, Spread, Weights};
use slot_types::fence::FenceFrom;
use slot_types::file::{FileError, FileProblem, parse};
use slot_types::ids::{HostName, StoreName};

const HEAD: &str = "version = 1\ncluster = \"fm1\"\ncoordinators = { c1 = \"10.0.0.1\" }\n";
const KIND: &str = "[kind.box]\nslots = 2\nslot = { size = \"1 GB\", address = \"10.20.{n}.{slot}\" }\n";

fn fault(text: &str) -> FileError {
    parse(text, "cluster.toml").expect_err("the file has a fault")
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn store(name: &str) -> StoreName {
    StoreName::new(name).unwrap()
}

#[test]
fn the_example_parses() {
    let spec = parse(include_str!("../../../cluster.toml.example"), "cluster.toml.example").unwrap();
    assert_eq!(spec.cluster.as_str(), "fm1");
    assert_eq!(spec.coordinators.len(), 3);
    assert_eq!(spec.coordinators.values().next().unwrap().to_string(), "10.1.1.101:7400");
    assert_eq!(spec.hosts.len(), 4);
    let imap3 = &spec.hosts[&host("imap3")];
    assert_eq!((imap3.at.to_string().as_str(), imap3.address.to_string().as_str()), ("ny/r3", "10.1.3.3:7420"));
    assert_eq!(imap3.slots.len(), 8);
    assert_eq!(imap3.slots[&7].address.to_string(), "10.20.3.7:7430");
    assert_eq!(imap3.slots[&7].size_bytes, 500_000_000_000);
    assert_eq!(spec.stores.len(), 12);
    let store7 = &spec.stores[&store("store7")];
    assert_eq!((store7.engine, store7.copies, store7.spread), (EngineKind::Journal, 2, Spread::Rack));
    assert_eq!((store7.size_bytes, store7.sync_copies), (100_000_000_000, 1));
    assert_eq!(spec.stores[&store("store8")].sync_copies, 0);
    assert_eq!(spec.stores[&store("store5")].never, [host("imap4")].into());
    assert_eq!(spec.front_ends.len(), 2);
    // The example writes out what holds when nothing is said.
    assert_eq!(spec.policy, Policy::default());
}

#[test]
fn a_policy_is_read_field_by_field() {
    let text = format!(
        "{HEAD}[policy]\nhandover = {{ at_once = 7, per_host = 3, per_domain = 5, max_lag = \"12 records\", max_stamp_age = \"2h\", \
         freeze = \"5s\" }}\nfailover = {{ people = 1, two_if = [], caught_up = \"2s\", attestation = \"10m\", \
         allow_unfenced = true }}\nbrake = {{ silent_hosts = 9, silent = \"8s\" }}\napproval = {{ valid = \"1m\" }}\n\
         everyday = {{ per_minute = 3 }}\ncopy = {{ at_once = 4, per_host = 1, per_domain = 2, keep_free = \"7%\" }}\n\
         placement = {{ survivor = 10, bytes = 2, moved = 1 }}\n\
         [engine.journal]\nverify = {{ every = \"3d\", rate = \"5 MB/s\", at_once = 3 }}\n"
    );
    let policy = parse(&text, "f").unwrap().policy;
    let expected = Policy {
        handover_at_once: 7,
        handover_per_host: 3,
        handover_per_domain: 5,
        max_lag_records: 12,
        max_stamp_age_ms: 7_200_000,
        freeze_limit_ms: 5_000,
        caught_up_ms: 2_000,
        failover_people: 1,
        two_if_loss: false,
        two_if_unfenced: false,
        allow_unfenced: true,
        brake_silent_hosts: 9,
        silent_ms: 8_000,
        attestation_ms: 600_000,
        plan_valid_ms: 60_000,
        everyday_per_minute: 3,
        copy_at_once: 4,
        copy_per_host: 1,
        copy_per_domain: 2,
        copy_keep_free: slot_types::disk::KeepFree::Percent(7),
        weights: Some(Weights { survivor: 10, bytes: 2, moved: 1, ..Weights::default() }),
        verify_every_ms: 3 * 86_400_000,
        verify_rate: 5_000_000,
        verify_at_once: 3,
    };
    assert_eq!(policy, expected);
}

#[test]
fn ports_and_addresses_as_written() {
    let text = "version = 1\ncluster = \"t\"\n\
        coordinators = { c1 = \"127.0.0.1:9000\", c2 = \"[::1]:9000\", c3 = \"::1\" }\n\
        [hosts]\n\"h[1-2]\" = { at = \"r{n}\", address = \"127.6.{n}.1:7421\", kind = \"box\" }\n\
        [kind.box]\nslots = 2\nslot = { size = \"1 GB\", address = \"127.7.{n}.{slot}:7431\" }\n";
    let spec = parse(text, "f").unwrap();
    let addresses: Vec<String> = spec.coordinators.values().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:9000", "[::1]:9000", "[::1]:7400"]);
    assert_eq!(spec.hosts[&host("h2")].address.to_string(), "127.6.2.1:7421");
    assert_eq!(spec.hosts[&host("h2")].slots[&1].address.to_string(), "127.7.2.1:7431");
}

#[test]
fn another_version_is_refused_naming_both() {
    let error = fault("version = 2\nnewer_field = 1\n");
    assert_eq!(error.problem, FileProblem::OtherVersion { found: "2".into(), supported: 1 });
    insta::assert_snapshot!(error);
    assert_eq!(fault("cluster = \"fm1\"\n").problem, FileProblem::NoVersion { supported: 1 });
}

#[test]
fn what_only_a_later_version_does_is_refused_by_name() {
    let cases = [
        format!("{HEAD}[policy]\nfailover = {{ people = 2 }}\n"),
        format!("{HEAD}[policy]\nfailover = {{ two_if = [\"lagging\"] }}\n"),
        format!("{HEAD}[stores]\ns1 = {{ engine = \"exec\", copies = 1, spread = \"host\" }}\n"),
    ];
    for text in cases {
        let error = fault(&text);
        assert!(matches!(error.problem, FileProblem::NotYet { .. }), "{error}");
        assert!(error.to_string().contains("not supported by this version yet"), "{error}");
        assert!(error.line > 3, "{error}");
    }
}

#[test]
fn front_ends_are_ranges_with_maps_and_addresses_of_their_own() {
    let of = |line: &str| {
        format!(
            "{HEAD}[hosts]\nh1 = {{ at = \"r1\", address = \"10.1.9.2\", kind = \"box\" }}\n{KIND}\n[frontends]\n{line}\n"
        )
    };
    let spec =
        parse(&of("\"fe[3-4]\" = { address = \"10.1.9.{n}\", render = [\"nginx-mail\", \"json\"] }"), "x").unwrap();
    let fe4 = &spec.front_ends[&"fe4".parse().unwrap()];
    assert_eq!((spec.front_ends.len(), fe4.address.to_string()), (2, "10.1.9.4:7420".to_string()));
    assert_eq!(fe4.render.iter().map(|map| map.as_str()).collect::<Vec<_>>(), ["json", "nginx-mail"]);
    for (line, said) in [
        ("fe1 = { address = \"10.0.0.9\" }", "front end fe1 has no render"),
        ("fe1 = { render = [\"json\"] }", "front end fe1 has no address"),
        ("fe1 = { address = \"10.0.0.9\", render = [] }", "name 1 to 16 maps"),
        ("fe1 = { address = \"10.0.0.9\", render = [\"json\", \"json\"] }", "json is there twice"),
        ("fe1 = { address = \"10.0.0.9\", render = [\"../json\"] }", "is not a name"),
        ("fe1 = { address = \"10.1.9.2\", render = [\"json\"] }", "10.1.9.2:7420"),
        ("h1 = { address = \"10.0.0.9\", render = [\"json\"] }", "h1 is a host too"),
        ("fe1 = { adress = \"10.0.0.9\", render = [\"json\"] }", "adress"),
    ] {
        let error = fault(&of(line)).to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn faults_are_shown_at_their_place() {
    let hosts = |lines: &str| format!("{HEAD}[hosts]\n{lines}\n{KIND}");
    let line = "{ at = \"r1\", address = \"10.1.0.{n}\", kind = \"box\" }";
    let overlap = hosts(&format!("\"imap[1-4]\" = {line}\n\"imap[4-6]\" = {line}"));
    insta::assert_snapshot!("overlap", fault(&overlap));
    insta::assert_snapshot!("unknown_field", fault(&format!("{HEAD}stores_ = 1\n")));
    insta::assert_snapshot!("not_toml", fault("version = 1\ncluster = \n"));
    let twice = hosts("h1 = { at = \"r1\", address = \"10.0.0.1:7400\", kind = \"box\" }");
    insta::assert_snapshot!("address_twice", fault(&twice));
    let lag = format!("{HEAD}[policy]\nhandover = {{ max_lag = \"10\" }}\n");
    insta::assert_snapshot!("lag_without_a_unit", fault(&lag));
    let wide = format!(
        "{HEAD}[stores]\n\"s[1-9]\" = {{ engine = \"journal\", copies = 2, spread = \"rack\", size = \
        \"100 GB\", sync_copies = 2 }} # no replica would be left to hold anything\n"
    );
    insta::assert_snapshot!("wide_line", fault(&wide));
}

#[test]
fn bounds_are_kept_before_anything_is_expanded() {
    let stores =
        |key: &str| format!("{HEAD}[stores]\n\"{key}\" = {{ engine = \"journal\", copies = 1, spread = \"host\" }}\n");
    assert_eq!(parse(&stores("s[1-20000]"), "f").unwrap().stores.len(), 20_000);
    for key in ["s[1-20001]", "s[0-999999999]"] {
        assert!(matches!(fault(&stores(key)).problem, FileProblem::TooMany { what: "stores", max: 20_000 }));
    }
    let hosts = |key: &str| {
        format!("{HEAD}[hosts]\n\"{key}\" = {{ at = \"r1\", address = \"10.1.0.{{n}}\", kind = \"box\" }}\n{KIND}")
    };
    assert!(matches!(fault(&hosts("h[1-1001]")).problem, FileProblem::TooMany { what: "hosts", .. }));
    let slots = |n: i64| {
        format!(
            "{HEAD}[hosts]\nh1 = {{ at = \"r1\", address = \"10.1.0.1\", kind = \"box\" }}\n[kind.box]\n\
        slots = {n}\nslot = {{ size = \"1 GB\", address = \"10.20.{{n}}.{{slot}}\" }}\n"
        )
    };
    assert_eq!(parse(&slots(200), "f").unwrap().hosts[&host("h1")].slots.len(), 200);
    for n in [-1, 0, 201, i64::MAX] {
        assert!(matches!(fault(&slots(n)).problem, FileProblem::OutOfBounds { what: "slots", .. }));
    }
}

#[test]
fn ranges_and_names_that_mean_nothing_are_refused() {
    for key in ["s[1-", "s1]", "s[4-1]", "s[01-12]", "s[a-b]", "s[1-2][1-2]", "s[-]", "s[1]"] {
        let text = format!("{HEAD}[stores]\n\"{key}\" = {{ engine = \"journal\", copies = 1, spread = \"host\" }}\n");
        assert!(matches!(fault(&text).problem, FileProblem::Range { .. }), "{key}");
    }
    for key in ["../s", "S1", "-s", "s 1", "s\\u0000"] {
        let text = format!("{HEAD}[stores]\n\"{key}\" = {{ engine = \"journal\", copies = 1, spread = \"host\" }}\n");
        assert!(matches!(fault(&text).problem, FileProblem::Name { .. }), "{key}");
    }
}

const IPMI: &str = "[fence_options.ipmi]\nusername = \"fence\"\nlanplus = true\nport = 623\n\
    password_file = \"/etc/slotd/secret/ipmi\"\ntimeout = \"20s\"\n";

fn with_fence(kind: &str, hosts: &str, options: &str) -> String {
    format!("{HEAD}[hosts]\n{hosts}\n{KIND}{kind}\n{options}")
}

const TWO: &str = "\"imap[1-2]\" = { at = \"r{n}\", address = \"10.1.0.{n}\", kind = \"box\" }";

#[test]
fn a_fence_is_of_a_kind_and_a_host_overrides_it() {
    let kind =
        "fence = { agent = \"fence_ipmilan\", options = \"ipmi\", ip = \"10.9.0.{n}\", from = \"another rack\" }";
    let hosts =
        format!("{TWO}\nimap2 = {{ fence = {{ agent = \"/opt/pdu\", plug = \"{{n}}\", from = \"another host\" }} }}");
    let spec = parse(&with_fence(kind, &hosts, IPMI), "f").unwrap();
    let first = spec.hosts[&host("imap1")].fence.clone().unwrap();
    let options: Vec<String> = first.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(options, ["ip=10.9.0.1", "lanplus=1", "port=623", "username=fence"]);
    assert_eq!((first.agent.as_str(), first.timeout_ms, first.from), ("fence_ipmilan", 20_000, FenceFrom::AnotherRack));
    assert_eq!(first.password_file.unwrap().as_str(), "/etc/slotd/secret/ipmi");
    let second = spec.hosts[&host("imap2")].fence.clone().unwrap();
    assert_eq!((second.to_string().as_str(), second.from), ("/opt/pdu 2", FenceFrom::AnotherHost));
    assert_eq!((second.password_file, second.timeout_ms), (None, slot_types::fence::TIMEOUT_MS));
    let none = parse(&with_fence("", TWO, IPMI), "f").unwrap();
    assert_eq!(none.hosts[&host("imap1")].fence, None);
}

#[test]
fn faults_of_a_fence_are_shown_at_their_place() {
    let kind = |fields: &str| with_fence(&format!("fence = {{ {fields} }}"), TWO, IPMI);
    insta::assert_snapshot!("fence_shell", fault(&kind("agent = \"fence_x; reboot\"")));
    insta::assert_snapshot!("fence_no_options", fault(&kind("agent = \"fence_x\", options = \"ipmy\"")));
    let options = |line: &str| {
        with_fence("fence = { agent = \"fence_x\", options = \"a\" }", TWO, &format!("[fence_options.a]\n{line}\n"))
    };
    insta::assert_snapshot!("fence_password", fault(&options("password = \"hunter2\"")));
    for line in [
        "action = \"on\"",
        "passwd = \"x\"",
        "Ip = \"x\"",
        "password_file = \"secret\"",
        "timeout = \"1ms\"",
        "timeout = 20",
        "list = [1]",
        "a = \"two\\nlines\"",
        "b = \"{slot}\"",
    ] {
        let error = fault(&options(line));
        assert!(error.line > 3 && !matches!(error.problem, FileProblem::Syntax(_)), "{line}: {error}");
    }
    for fields in
        ["agent = \"fence_x\", from = \"here\"", "agent = \"../fence_x\"", "agent = \"fence_x\", ip = \"{x}\""]
    {
        let error = fault(&kind(fields));
        assert!(!matches!(error.problem, FileProblem::Syntax(_)), "{error}");
    }
}

#[test]
fn an_even_number_of_coordinators_is_refused() {
    let error = fault("version = 1\ncluster = \"t\"\ncoordinators = { c1 = \"10.0.0.1\", c2 = \"10.0.0.2\" }\n");
    assert_eq!(error.problem, FileProblem::CoordinatorCount { count: 2 });
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(version = 1\n)?([a-z\\[\\]{}\"=.,0-9 \n\t#é-]{0,200})") {
        if let Err(error) = parse(&text, "cluster.toml") {
            let shown = error.to_string();
            proptest::prop_assert!(shown.lines().count() >= 5);
        }
    }
}

/// A whole fleet of mail in some thirty lines, as people write it. What of it no build carries out yet is said.
const FLEET: &str = include_str!("fm1.toml");

#[test]
fn a_whole_fleet_in_thirty_lines() {
    let lines = FLEET.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    assert_eq!(lines.count(), 31);
    let spec = parse(FLEET, "cluster.toml").unwrap();
    assert_eq!((spec.hosts.len(), spec.stores.len(), spec.front_ends.len()), (12, 240, 2));
    assert_eq!(spec.hosts.values().map(|host| host.slots.len()).sum::<usize>(), 480);
    assert!(spec.stores.values().all(|line| (line.engine, line.copies) == (EngineKind::Cyrus, 2)));
    assert!(spec.stores.values().all(|line| line.never.is_empty()));
    let with17 = parse(&FLEET.replace("# store17", "store17"), "cluster.toml").unwrap();
    let store17 = &with17.stores[&store("store17")];
    assert_eq!((store17.engine, store17.copies), (EngineKind::Cyrus, 3));
    assert_eq!(store17.never, [host("imap11")].into());
    assert!(with17.stores[&store("store18")].never.is_empty());
    // What a person could believe to be in force and is not has a line of its own.
    insta::assert_snapshot!("not_in_force", spec.unused.into_iter().collect::<Vec<_>>().join("\n"));
    assert_eq!(spec.policy.max_lag_records, Policy::default().max_lag_records, "a gate stands all the same");
}

#[test]
fn faults_of_engines_pins_rates_and_alarms_are_shown_at_their_place() {
    let change = |from: &str, to: &str| {
        assert!(FLEET.contains(from), "{from}");
        fault(&FLEET.replace("# store17", "store17").replace(from, to))
    };
    insta::assert_snapshot!("pin_of_nobody", change("never imap11", "never imap13"));
    insta::assert_snapshot!("pin_of_another_kind", change("never imap11", "always imap11"));
    insta::assert_snapshot!("rate_without_time", change("200 MB/s", "200 MB"));
    insta::assert_snapshot!("engine_unknown", change("[engine.cyrus]", "[engine.dovecot]"));
    for (from, to) in [
        ("10%", "100%"),
        ("10%", "some"),
        ("/mnt/t{slot}", "mnt/t{slot}"),
        ("/mnt/t{slot}", "/mnt/{disk}"),
        ("level = 2", "level = 9"),
        ("every = \"7d\"", "every = \"1s\""),
        ("/etc/slotd/secret/repl", "secret/repl"),
        ("user = \"cyrus\"", "user = \"$(id)\""),
        ("templates/cyrus", "../cyrus"),
        ("lag = \"1 MB\"", "lag = \"1\""),
        ("lag_for = \"5m\"", "lag_for = \"5\""),
        ("certificate = \"30d\"", "certificates = \"30d\""),
        ("verify = {", "verfy = {"),
    ] {
        let error = change(from, to);
        assert!(error.line > 3, "{to}: {error}");
    }
}

#[test]
fn a_load_is_of_a_store_and_a_weight_of_a_kind_or_a_host() {
    let text = |kind: &str, hosts: &str, stores: &str| {
        format!(
            "{HEAD}[hosts]\n{TWO}\n{hosts}\n{KIND}{kind}\n[stores]\n\
             \"s[1-3]\" = {{ engine = \"journal\", copies = 2, spread = \"rack\"{stores} }}\n"
        )
    };
    let weight = |text: &str, name: &str| parse(text, "f").unwrap().hosts[&host(name)].weight;
    let load = |text: &str, name: &str| parse(text, "f").unwrap().stores[&store(name)].load;
    let plain = text("", "", "");
    assert_eq!((weight(&plain, "imap1"), load(&plain, "s1")), (1, 1));
    let declared = text("weight = 4", "imap2 = { weight = 1000 }", ", load = 3") + "s2 = { load = 1000 }\n";
    assert_eq!((weight(&declared, "imap1"), weight(&declared, "imap2")), (4, 1_000));
    assert_eq!((load(&declared, "s1"), load(&declared, "s2")), (3, 1_000));
    for (wrong, field) in [
        (text("weight = 0", "", ""), "weight"),
        (text("", "imap2 = { weight = 1001 }", ""), "weight"),
        (text("", "", ", load = 0"), "load"),
        (text("", "", ", load = 1001"), "load"),
        (text("", "", ", load = -1"), "load"),
    ] {
        let problem = fault(&wrong).problem;
        assert!(
            matches!(problem, FileProblem::OutOfBounds { what, min: 1, max: 1_000, .. } if what == field),
            "{problem}"
        );
    }
    assert!(parse(&text("weight = 1.5", "", ""), "f").is_err(), "whole numbers only");
}
