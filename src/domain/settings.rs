//! How the tables of the policy file are declared: the name, the meaning, the type and the default of a key stand in one
//! place, from which the parser, the defaults and the documents are made.
//!
//! The derive of serde would do but for two things: a table can have keys in common with others, and there serde
//! (`flatten`) neither refuses unknown keys nor knows the line of an error.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// A key with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it sets, in the words of the documents.
    pub doc: &'static str,
}

/// A table, or what several tables have in common.
pub trait Settings: Default {
    /// Its keys, in the order in which the documents show them.
    fn keys() -> Vec<Key>;

    /// The tables within it, with their keys.
    fn tables() -> Vec<(&'static str, Vec<Key>)>;

    /// Takes the value of this key, or of this table, from `map`. Returns `false`, with nothing taken, if there is none of that
    /// name.
    fn set<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Declares a table: a struct whose fields are its keys, each with what it sets, its type and its default. The type
/// refuses what is out of bounds. `with` names a field that holds what other tables have too; `tables` are those within.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident $(with $shared:ident: $shared_type:ty)? {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr,)+
        }
        $(tables {
            $($(#[doc = $about:literal])+ $table:ident: $table_type:ty,)+
        })?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name {
            $(
                /// What other tables have too.
                pub $shared: $shared_type,
            )?
            $($(#[doc = $doc])+ pub $key: $type,)+
            $($($(#[doc = $about])+ pub $table: $table_type,)+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($shared: Default::default(),)?
                    $($key: $default,)+
                    $($($table: Default::default(),)+)?
                }
            }
        }

        impl $crate::domain::Settings for $name {
            fn keys() -> Vec<$crate::domain::Key> {
                let mut keys = Vec::new();
                $(keys.extend(<$shared_type as $crate::domain::Settings>::keys());)?
                keys.extend([$($crate::domain::Key { name: stringify!($key), doc: concat!($($doc),+) }),+]);
                keys
            }

            fn tables() -> Vec<(&'static str, Vec<$crate::domain::Key>)> {
                #[allow(unused_mut, reason = "not every table has tables in it")]
                let mut tables = Vec::new();
                $(tables.extend(<$shared_type as $crate::domain::Settings>::tables());)?
                $(tables.extend([$((stringify!($table), <$table_type as $crate::domain::Settings>::keys())),+]);)?
                tables
            }

            fn set<'de, A: serde::de::MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
                $(if self.$shared.set(name, map)? {
                    return Ok(true);
                })?
                match name {
                    $(stringify!($key) => self.$key = map.next_value()?,)+
                    $($(stringify!($table) => self.$table = map.next_value()?,)+)?
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::domain::read_settings(deserializer)
            }
        }
    };
}

pub(crate) use settings;

/// Reads a table over its defaults.
pub(crate) fn read_settings<'de, S: Settings, D: Deserializer<'de>>(deserializer: D) -> Result<S, D::Error> {
    deserializer.deserialize_map(Table(PhantomData))
}

struct Table<S>(PhantomData<S>);

impl<'de, S: Settings> Visitor<'de> for Table<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let mut settings = S::default();
        while let Some(name) = map.next_key_seed(KnownName::<S>(PhantomData))? {
            settings.set(name, &mut map)?;
        }
        Ok(settings)
    }
}

/// The name of a key or of a table that there is. An error that is made here names the line of the name.
struct KnownName<S>(PhantomData<S>);

impl<'de, S: Settings> DeserializeSeed<'de> for KnownName<S> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<S: Settings> Visitor<'_> for KnownName<S> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'static str, E> {
        let keys = S::keys().into_iter().map(|key| key.name);
        let names: Vec<_> = keys.chain(S::tables().into_iter().map(|(table, _)| table)).collect();
        names.iter().find(|known| **known == name).copied().ok_or_else(|| {
            let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let expected = match quoted.as_slice() {
                [one, other] => format!("{one} or {other}"),
                all => format!("one of {}", all.join(", ")),
            };
            E::custom(format_args!("unknown field `{name}`, expected {expected}"))
        })
    }
}
