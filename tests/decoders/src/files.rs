//! Files that people or other programs write: configuration, the small files of a site, imports.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use branchline_node::site::SiteFolder;
use branchline_node::{Config, Overrides};
use tempfile::TempDir;

use crate::network::network;
use crate::{Memory, Target};

/// A folder of this process.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder")).path()
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, content).expect("room");
    path
}

pub(crate) const CONFIG: Target = Target {
    name: "config",
    run: config,
    seeds: || {
        let texts = [
            "api = \"127.0.0.1:7000\"\nmdns = false\nlisten = [\"/ip4/0.0.0.0/tcp/0\"]\n",
            "peers = [\"/ip4/10.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp\"]\n",
            "external = [\"/dns4/a.example/udp/1/quic-v1\"]\ncache_mib = 1\ndisk_reserve_mib = 0\ndisk_reserve_own_mib = 0\n",
            "log = \"info,a=debug\"\nlog_format = \"json\"\n[[a]]\nb.c = {d = 1e9}\n",
        ];
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    },
    memory: Memory { mib: 1, per_byte: 1024 },
};

/// A configuration file.
fn config(input: &[u8]) {
    let path = file("branchline.toml", input);
    if let Ok(config) = Config::load(folder(), Some(&path), Overrides::default()) {
        assert!(config.settings.api.ip().is_loopback());
        let again = Config::load(folder(), Some(&path), Overrides::default());
        assert_eq!(again.ok(), Some(config));
    }
}

pub(crate) const SITE: Target = Target {
    name: "site",
    run: site,
    seeds: || {
        let run =
            br#"{"api":"127.0.0.1:1","pid":7,"listening":["/ip4/1.2.3.4/tcp/1"],"ports":{"a":1}}"#;
        let key = [b'1'; 64];
        let ticket = network().ticket.to_string();
        let files: [&[u8]; 4] = [b"{\"name\":\"head\"}", &key, run, ticket.as_bytes()];
        files.map(<[u8]>::to_vec).into()
    },
    memory: Memory { mib: 1, per_byte: 512 },
};

/// Each of the small files of a data folder.
fn site(input: &[u8]) {
    for name in ["site.json", "site.key", "api.token", "run.json", "ticket"] {
        file(name, input);
    }
    let site = SiteFolder::new(folder());
    let _ = (site.site(), site.key(), site.token(), site.run());
    if let Ok(Some(ticket)) = site.ticket() {
        site.keep_ticket(&ticket).expect("room");
        let again = site.ticket().expect("what was kept").expect("a ticket");
        assert_eq!(again.grant, ticket.grant);
    }
    if let Ok(run) = site.run() {
        site.keep_run(&run).expect("room");
        assert_eq!(site.run().ok(), Some(run));
    }
}

pub(crate) const IMPORT: Target = Target {
    name: "import",
    run: import,
    seeds: || {
        let texts: [&[u8]; 10] = [
            b"\x00id,name,price\n1,\"Tea, green\",2.50\n2,\"a \"\"b\"\"\nc\",007\n\n3,,1\r\n",
            b"\x00\xef\xbb\xbfid,a,b\r\n1,true,9223372036854775808\r\n2,false\r\n\xff,x,y\n",
            b"\x00id,l,m\n1,\"[1,2]\",\"{}\"\n1,x,\"\n",
            b"\x01{\"id\":\"1\",\"a\":1,\"b\":[1,{\"c\":null}]}\n\nnope\n{\"id\":2,\"a\":1.5}\n",
            b"\x01{\"id\":null}\n{\"id\":{},\"a\":1e400}\n{\"id\":\"3\",\"_id\":4,\"\\ud800\":1}\n",
            b"\x00Report\r\nid;a;b\r\n1;1.234,50;TRUE\r\n2;\"x\" y;\"\r\n3;5\" pipe;no\r\n",
            b"\x00\xff\xfei\x00d\x00,\x00a\x00\n\x001\x00,\x00x\x00\n\x00\x00\xd8,\x00",
            b"\x01[{\"id\":\"1\"},\n {\"id\": [},\n {\"id\":\"2\", \"a\": {}}",
            b"\x01{\n \"id\": 1\n}\n{\n \"id\": \"2\n}\n",
            b"\x01{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}\n",
        ];
        texts.map(<[u8]>::to_vec).into()
    },
    memory: Memory { mib: 4, per_byte: 2048 },
};

/// A file to import; the first byte of the input says whether CSV or JSON.
fn import(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let name = if how & 1 == 0 { "import.csv" } else { "import.jsonl" };
    let path = file(name, bytes);
    if let Some(rows) = branchline::read_import(&path, "id") {
        // An array may have a value at every other byte, and not be closed.
        assert!(rows.len() <= bytes.len() + 1, "more rows than bytes");
        for (id, _) in rows.into_iter().flatten() {
            assert!(branchline_crdt::record::check_record_id(&id).is_ok());
        }
    }
}
