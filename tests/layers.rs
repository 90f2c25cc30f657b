// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The table of layers in DESIGN.md is true of the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by name with their level, from the table's rows: `| 0 | `a`, `b` | … |`.
fn levels() -> BTreeMap<String, u32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let design = fs::read_to_string(root.join("DESIGN.md")).unwrap();
    let rows = design.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|');
        let level: u32 = cells.next()?.trim().parse().ok()?;
        let modules = cells.next()?.split(',').map(|name| name.trim().trim_matches('`').to_owned());
        Some(modules.map(move |name| (name, level)).collect::<Vec<_>>())
    });
    rows.flatten().collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a source names after `crate::`, documentation aside.
fn imports(source: &str) -> Vec<String> {
    // Tests of a module may use whatever they like.
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let names = text.split("crate::").skip(1).map(|rest| {
        rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_import_from_their_level_and_below() {
    let levels = levels();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    let mut wrong = Vec::new();
    for path in &found {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(level) = levels.get(module) else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        for import in imports(&fs::read_to_string(path).unwrap()) {
            match levels.get(&import) {
                Some(of) if of <= level => {}
                Some(of) => wrong.push(format!("{module} ({level}) imports {import} ({of})")),
                None => wrong.push(format!("{module} imports {import}, which is not in the table")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(found.len() > 30, "the sources are in src");
}

#[test]
fn unsafe_is_where_the_design_says() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    let opted_in: BTreeSet<PathBuf> = found
        .into_iter()
        .filter(|path| fs::read_to_string(path).unwrap().contains("allow(unsafe_code"))
        .map(|path| path.strip_prefix(&src).unwrap().to_owned())
        .collect();
    assert_eq!(opted_in, ["blit.rs", "sys/mod.rs"].map(PathBuf::from).into());
}
