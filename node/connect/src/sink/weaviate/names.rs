//! What objects are called there: the same at every site, so that one that is sent twice is there once.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The namespace of URLs (RFC 9562, appendix A).
const NAMESPACE_URL: [u8; 16] = [
    0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8,
];

/// A UUID, shown as Weaviate writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Uuid([u8; 16]);

impl Uuid {
    /// Version 5 (RFC 9562, 5.5): of a name, in a namespace.
    fn v5(namespace: [u8; 16], name: &str) -> Self {
        let text = [&namespace[..], name.as_bytes()].concat();
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text);
        let mut bytes = [0; 16];
        for (byte, of_hash) in bytes.iter_mut().zip(hash.as_ref()) {
            *byte = *of_hash;
        }
        bytes[6] = (bytes[6] & 0x0f) | 0x50;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The names of one network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    namespace: Uuid,
}

impl Names {
    pub(super) fn new(network: &str) -> Self {
        Self { namespace: Uuid::v5(NAMESPACE_URL, &format!("branchline:{network}")) }
    }

    /// The object of a record.
    pub(super) fn object(&self, class: &str, record: &str) -> Uuid {
        Uuid::v5(self.namespace.0, &format!("{class}/{record}"))
    }
}

/// The place of an object, as edges name it.
pub(super) fn beacon(class: &str, id: Uuid) -> String {
    format!("weaviate://localhost/{class}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_uuid_that_other_programs_make_of_it() {
        // RFC 9562, A.4.
        let dns = [
            0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4,
            0x30, 0xc8,
        ];
        assert_eq!(
            Uuid::v5(dns, "www.example.com").to_string(),
            "2ed6657d-e927-568b-95e1-2665a8aea6a2"
        );
    }

    #[test]
    fn an_object_is_called_by_network_class_and_record() {
        let names = Names::new("one");
        let id = names.object("Order", "7");
        assert_eq!(id, Names::new("one").object("Order", "7"));
        for other in [
            names.object("Order", "8"),
            names.object("Orders", "7"),
            Names::new("two").object("Order", "7"),
        ] {
            assert_ne!(id, other);
        }
        assert_eq!(beacon("Order", id), format!("weaviate://localhost/Order/{id}"));
    }
}
