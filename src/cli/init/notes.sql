CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    body TEXT,
    private BOOLEAN NOT NULL DEFAULT 0
);
INSERT INTO note (title, body, private) VALUES
    ('Welcome', 'Every edit of gateway.d is served at once, or refused with the line that is wrong.', 0),
    ('Second', 'The role of the key decides what it may read and write.', 0),
    ('Hidden', 'The role of the first key does not admit this one.', 1);
