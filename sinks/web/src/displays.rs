// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is shown, by its name.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vfio_display_vnc::Handle;

use crate::websocket::Aside;

#[derive(Debug, Default)]
pub(crate) struct Displays(BTreeMap<String, Display>);

#[derive(Clone, Debug)]
struct Display {
    title: String,
    server: Handle,
}

impl Displays {
    pub(crate) fn publish(&mut self, name: &str, title: &str, server: Handle) {
        self.0.insert(name.into(), Display { title: title.into(), server });
    }

    pub(crate) fn withdraw(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    pub(crate) fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// The display of this name; without one, that which is alone.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<(&Handle, Status)> {
        let display = match name {
            Some(name) => self.0.get(name)?,
            None if self.is_single() => self.0.values().next()?,
            None => return None,
        };
        let title = display.title.clone();
        Some((&display.server, Status { title, server: display.server.clone(), told: None }))
    }

    /// For the list of displays.
    pub(crate) fn json(&self) -> Value {
        let each = self.0.iter().map(|(name, Display { title, server })| {
            // Before there was a picture, the size is that of the words in its place.
            let size = server.has_signal().then(|| server.size());
            json!({
                "name": name,
                "title": title,
                "width": size.map(|size| size.width),
                "height": size.map(|size| size.height),
                "viewers": server.viewers(),
                "viewOnly": server.view_only(),
            })
        });
        each.collect()
    }
}

/// What RFB has no words for, told to the page in text messages beside it.
pub(crate) struct Status {
    title: String,
    server: Handle,
    /// Whether there was a signal when it was last told.
    told: Option<bool>,
}

impl Aside for Status {
    fn has_news(&self) -> bool {
        self.told != Some(self.server.has_signal())
    }

    fn news(&mut self) -> Option<String> {
        let signal = self.server.has_signal();
        if self.told.replace(signal) == Some(signal) {
            return None;
        }
        let status = json!({
            "title": self.title,
            "viewOnly": self.server.view_only(),
            "resizable": self.server.resizable(),
            "signal": signal,
        });
        Some(status.to_string())
    }
}
