//! Lists: filters, pages, and whose turn it is to read.

mod filters;
mod order_filters;
mod page_sizes;
mod paging;
mod readers;
