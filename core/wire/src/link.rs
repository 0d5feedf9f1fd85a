//! link: to be filled.
