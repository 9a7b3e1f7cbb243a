//! The databases: rows, roles, files, poolers, upgrades and restores.

mod audit;
mod corrupt;
mod database_connections;
mod databases;
mod dropped;
mod files;
mod locked;
mod newer;
mod poolers;
mod restores;
mod retention;
mod roles;
mod secrets;
mod secure_database;
mod startup;
mod upgrade;
