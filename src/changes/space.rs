//! All components of a service, as far as the rows of two roles tell them apart: finitely many classes, each with one
//! component that stands for all of its kind. What holds for some classes is written back as few patterns.

use std::collections::{BTreeMap, BTreeSet};

use crate::connector::access::Pattern;

/// A set of components: those that the pattern covers, letter by letter, but for those that an exception covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) pattern: Pattern,
    pub(super) except: Vec<Pattern>,
}

/// One class of components.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// A component of it. Parts that stand for anything hold [`Space::fresh`], which no pattern names.
    pub(super) component: String,
    /// For components that are spelt otherwise than every pattern: the class that they would belong to if letter case
    /// did not count.
    pub(super) folded: Option<usize>,
}

/// What some patterns have in common: a place in the tree that they make by containing each other.
#[derive(Debug)]
struct Node {
    pattern: Pattern,
    /// The component itself, for `x` and `x/*`.
    point: Option<usize>,
    /// Everything else that it covers and no child does; none for `x` alone.
    region: Option<usize>,
    children: Vec<usize>,
}

/// The nodes that cover a component letter by letter, and those that do when letter case does not count.
type Way = (Vec<usize>, Vec<usize>);

/// All components, as far as some patterns tell them apart.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) classes: Vec<Class>,
    /// The root, which is everything, comes first.
    nodes: Vec<Node>,
    /// A text that occurs in no pattern, without letters.
    pub(super) fresh: char,
}

impl Space {
    /// The space of these patterns.
    pub(super) fn of<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Self {
        let mut points = BTreeSet::from([String::new()]);
        let mut below = BTreeSet::new();
        let mut prefixes = BTreeSet::new();
        for pattern in patterns {
            match pattern {
                Pattern::Everything => {}
                Pattern::Exact(text) => {
                    points.insert(text.clone());
                }
                Pattern::Below(text) => {
                    below.insert(text.clone());
                }
                Pattern::Prefix(text) => {
                    prefixes.insert(text.clone());
                }
            }
        }
        let fresh = ('\u{e000}'..='\u{f8ff}')
            .find(|character| {
                [&points, &below, &prefixes]
                    .into_iter()
                    .flatten()
                    .all(|text| !text.contains(*character))
            })
            .unwrap_or('\u{e000}');
        let mut space = Self {
            classes: Vec::new(),
            nodes: Vec::new(),
            fresh,
        };
        space.node(Pattern::Everything);
        // Containing patterns first: a prefix before what begins with it, `x*` before `x/*` before `x`; and what
        // stands below `x` comes before `x-`.
        let order = |text: &String, rank: u8| (text.replace('/', "\0"), rank);
        let exact = points.difference(&below);
        let texts: BTreeMap<(String, u8), Pattern> = exact
            .map(|text| (order(text, 2), Pattern::Exact(text.clone())))
            .chain((below.iter()).map(|text| (order(text, 1), Pattern::Below(text.clone()))))
            .chain((prefixes.iter()).map(|text| (order(text, 0), Pattern::Prefix(text.clone()))))
            .collect();
        // The way from the root to the pattern before.
        let mut open = vec![0];
        for pattern in texts.into_values() {
            let text = literal(&pattern).to_owned();
            while let Some(around) = open.last()
                && !space
                    .nodes
                    .get(*around)
                    .is_some_and(|node| node.pattern.covers(&text, true) && is_wide(&node.pattern))
            {
                open.pop();
            }
            let around = open.last().copied().unwrap_or(0);
            let index = space.node(pattern);
            if let Some(node) = space.nodes.get_mut(around) {
                node.children.push(index);
            }
            open.push(index);
        }
        space.spell_otherwise();
        space
    }

    fn node(&mut self, pattern: Pattern) -> usize {
        let text = literal(&pattern).to_owned();
        let fresh = self.fresh;
        let mut class = |component: String| {
            self.classes.push(Class {
                component,
                folded: None,
            });
            Some(self.classes.len() - 1)
        };
        let (point, region) = match pattern {
            Pattern::Everything | Pattern::Prefix(_) => (None, class(format!("{text}{fresh}"))),
            Pattern::Exact(_) => (class(text), None),
            Pattern::Below(_) => {
                let inner = format!("{text}/{fresh}");
                (class(text), class(inner))
            }
        };
        self.nodes.push(Node {
            pattern,
            point,
            region,
            children: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// Adds the classes of components that differ from a pattern only in letter case: rows restrict them all the same.
    fn spell_otherwise(&mut self) {
        let classes = self.classes.iter();
        let known: BTreeSet<Way> = classes.map(|class| self.way(&class.component)).collect();
        let heads: BTreeSet<&str> = self
            .nodes
            .iter()
            .map(|node| literal(&node.pattern))
            .collect();
        let mut found = Vec::new();
        for (index, class) in self.classes.iter().enumerate() {
            let mut met = BTreeSet::new();
            for head in &heads {
                let is_head = class
                    .component
                    .get(..head.len())
                    .is_some_and(|begin| begin.eq_ignore_ascii_case(head));
                let Some(tail) = class.component.get(head.len()..).filter(|_| is_head) else {
                    continue;
                };
                // As the head's own pattern spells it; after that as it was, or in other letters.
                let mut is_first = true;
                let first = tail.chars().map(|character| {
                    let turns = is_first && character.is_ascii_alphabetic();
                    is_first &= !turns;
                    if turns { turned(character) } else { character }
                });
                let first: String = first.collect();
                let all: String = tail.chars().map(turned).collect();
                for tail in [tail, &first, &all] {
                    let component = format!("{head}{tail}");
                    let way = self.way(&component);
                    if way.0 != way.1 && !known.contains(&way) && met.insert(way) {
                        found.push(Class {
                            component,
                            folded: Some(index),
                        });
                    }
                }
            }
        }
        self.classes.extend(found);
    }

    /// The nodes whose patterns cover a component: letter by letter, and letter case aside.
    fn way(&self, component: &str) -> Way {
        let covering = |exact_case: bool| {
            (self.nodes.iter().enumerate())
                .filter(|(_, node)| node.pattern.covers(component, exact_case))
                .map(|(index, _)| index)
                .collect()
        };
        (covering(true), covering(false))
    }

    /// The classes to which a component belongs, letter case aside: where its nearest pattern has it.
    pub(super) fn class_of(&self, component: &str) -> Option<usize> {
        let mut node = self.nodes.first()?;
        while let Some(child) = (node.children.iter())
            .filter_map(|child| self.nodes.get(*child))
            .find(|child| child.pattern.covers(component, false))
        {
            node = child;
        }
        if literal(&node.pattern).eq_ignore_ascii_case(component)
            && !matches!(node.pattern, Pattern::Prefix(_) | Pattern::Everything)
        {
            node.point
        } else {
            node.region
        }
    }

    /// The fewest parts that together are just these classes, all of them spelt as the patterns are.
    pub(super) fn parts(&self, wanted: &BTreeSet<usize>) -> Vec<Part> {
        let mut parts = Vec::new();
        self.visit(0, None, wanted, &mut parts);
        parts.sort();
        parts
    }

    /// `within` is the part whose pattern covers the node.
    fn visit(
        &self,
        index: usize,
        within: Option<usize>,
        wanted: &BTreeSet<usize>,
        parts: &mut Vec<Part>,
    ) {
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let is_wanted = |class: Option<usize>| class.is_some_and(|class| wanted.contains(&class));
        let has_point = is_wanted(node.point);
        let mut add = |pattern: Pattern| {
            parts.push(Part {
                pattern,
                except: Vec::new(),
            });
            parts.len() - 1
        };
        let text = || literal(&node.pattern).to_owned();
        let open = match (node.region, within) {
            // `x` alone.
            (None, None) => {
                if has_point {
                    add(node.pattern.clone());
                }
                None
            }
            (None, Some(part)) => {
                if !has_point && let Some(part) = parts.get_mut(part) {
                    part.except.push(node.pattern.clone());
                }
                None
            }
            (Some(_), _) if is_wanted(node.region) => {
                let part = within.unwrap_or_else(|| add(node.pattern.clone()));
                if node.point.is_some()
                    && !has_point
                    && let Some(part) = parts.get_mut(part)
                {
                    part.except.push(Pattern::Exact(text()));
                }
                Some(part)
            }
            (Some(_), _) => {
                if has_point {
                    add(Pattern::Exact(text()));
                }
                if let Some(part) = within.and_then(|part| parts.get_mut(part)) {
                    part.except.push(node.pattern.clone());
                }
                None
            }
        };
        for child in &node.children {
            self.visit(*child, open, wanted, parts);
        }
    }
}

/// What a pattern names letter by letter.
pub(super) fn literal(pattern: &Pattern) -> &str {
    match pattern {
        Pattern::Everything => "",
        Pattern::Exact(text) | Pattern::Below(text) | Pattern::Prefix(text) => text,
    }
}

/// Whether a pattern can contain others.
fn is_wide(pattern: &Pattern) -> bool {
    !matches!(pattern, Pattern::Exact(_))
}

fn turned(character: char) -> char {
    if character.is_ascii_lowercase() {
        character.to_ascii_uppercase()
    } else {
        character.to_ascii_lowercase()
    }
}
