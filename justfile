# Every command of the project. `just` lists them; continuous integration runs `just check`.

_list:
    @just --list --unsorted

# serve gateway.d on 127.0.0.1:8080
serve *arguments:
    cargo run -- {{arguments}}

# everything that continuous integration runs
check:
    tests/run

# formatting, lints and tests only
quick:
    tests/run --quick

# the tests whose names contain NAME
test name="":
    cargo nextest run --features testing {{name}}

# rewrite all sources in the project's format
format:
    cargo fmt

# lints, warnings are errors
lint:
    cargo clippy --all-targets --features testing -- -D warnings

# the reference of the crate
documentation:
    cargo doc --no-deps --document-private-items --open

# regenerate what is generated and committed
generate:
    cargo run --quiet -- schema > schema/manifest.schema.json.new
    mv schema/manifest.schema.json.new schema/manifest.schema.json

# accept changed snapshots; look at the difference before committing it
bless:
    INSTA_UPDATE=always cargo nextest run --features testing

# licences, sources, bans and advisories of all dependencies (needs cargo-deny)
deny:
    cargo deny check

# check every manifest against the schema, as an editor does (needs taplo)
taplo:
    taplo check
