//! Is the first screen of the README true?

use std::process::Command;

use serde_json::Value;

use crate::support::TestGateway;

#[test]
fn the_command_of_the_readme_gives_the_answer_of_the_readme() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("<!-- tests: this command gives this answer -->\n```sh\n")
        .expect("the README marks its command");
    let (command, rest) = rest.split_once("```\n```json\n").unwrap();
    let promised = rest.split("```").next().unwrap();

    let gateway = TestGateway::start("gateway.d");
    let command = command.replace("127.0.0.1:8080", &gateway.api.to_string());
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&answer).unwrap(),
        serde_json::from_str::<Value>(promised).unwrap(),
        "the answer is {answer}"
    );
    assert_eq!(answer.trim_end(), promised.trim_end());
    gateway.stop();
}
