#![no_main]

branchline_fuzz::fuzz!("upload");
