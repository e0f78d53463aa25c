//! The whole book: mdBook with our pages, then its frame repaired.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, ensure};
use graders::catalogue;
use mdbook_driver::MDBook;
use mdbook_driver::config::Config;
use mdbook_preprocessor::book::{self, BookItem, Chapter};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};

use super::expand::{Desk, Expanded, Page, expand};
use super::recording::{Shelf, entries, name_of};
use super::{chrome, links};

/// Where the book is built to.
pub fn folder() -> PathBuf {
    graders::compile::target_dir().join("book")
}

/// The course's own book.
pub fn sources() -> PathBuf {
    catalogue::root().join("book")
}

/// What came of a build.
pub struct Built {
    /// How many pages it has.
    pub pages: usize,
    /// What is wrong with a draft, `FILE:LINE: MESSAGE` each.
    pub problems: Vec<String>,
}

/// Builds the book into a folder; a draft is built whatever is wrong with it.
///
/// # Errors
///
/// A page is wrong: each place with its file and line. Or mdBook failed.
pub fn build(book: &Path, to: &Path, draft: bool) -> anyhow::Result<Built> {
    let file = book.join("book.toml");
    let shown = file.display();
    let text = fs::read_to_string(&file).with_context(|| format!("{shown}"))?;
    let mut config: toml::Table =
        text.parse().with_context(|| format!("{shown}"))?;
    // There it is named for a stock mdbook; here it is this very program.
    config.remove("preprocessor");
    let mut config: Config = toml::to_string(&config)?.parse()?;
    config.build.build_dir = std::path::absolute(to)?;
    config.build.use_default_preprocessors = false;
    let mut mdbook = MDBook::load_with_config(book, config)?;
    let problems = Rc::new(RefCell::new(Vec::new()));
    mdbook.with_preprocessor(Lab { draft: draft.then(|| problems.clone()) });
    mdbook.build()?;
    let mut pages = 0;
    for file in html(to)? {
        pages += usize::from(rewrite(&file, chrome::repair)?);
    }
    for file in entries(to)? {
        if name_of(&file).starts_with("highlight-")
            && file.extension().is_some_and(|end| end == "js")
        {
            rewrite(&file, chrome::slim_highlighter)?;
        }
    }
    let mut problems = problems.take();
    let broken = links::broken(to)?;
    ensure!(draft || broken.is_empty(), "{}", list(&broken));
    problems.extend(broken);
    Ok(Built { pages, problems })
}

/// Puts what `change` makes of a file in its place; is it another text?
fn rewrite(
    file: &Path,
    change: fn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<bool> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{shown}"))?;
    let changed = change(&text).with_context(|| format!("{shown}"))?;
    fs::write(file, &changed).with_context(|| format!("{shown}"))?;
    Ok(changed != text)
}

/// The preprocessor.
#[derive(Default)]
pub struct Lab {
    /// Where problems go instead of ending the build.
    pub draft: Option<Rc<RefCell<Vec<String>>>>,
}

impl Preprocessor for Lab {
    fn name(&self) -> &str {
        "lab"
    }

    fn run(
        &self,
        context: &PreprocessorContext,
        mut book: book::Book,
    ) -> anyhow::Result<book::Book> {
        let root = context.root.parent().unwrap_or(&context.root);
        let shelf = Shelf::new(context.root.join("recordings"));
        let mut texts: HashMap<PathBuf, String> = HashMap::new();
        let (pages, problems) = expand_each(&in_order(&book)?, root, &shelf)?;
        match &self.draft {
            Some(draft) => draft.borrow_mut().extend(problems),
            None => ensure!(problems.is_empty(), "{}", list(&problems)),
        }
        for (page, expanded) in pages {
            texts.insert(page.path.clone(), expanded.text);
        }
        book.for_each_chapter_mut(|chapter| {
            let text =
                chapter.path.as_ref().and_then(|path| texts.remove(path));
            if let Some(text) = text {
                chapter.content = text;
            }
        });
        Ok(book)
    }
}

/// A page, and what it becomes.
type Pair = (Rc<Page>, Expanded);

/// Expands pages in their order.
///
/// # Errors
///
/// All that is wrong with any of them; recordings that no page names too.
pub fn expand_all(
    pages: &[Rc<Page>],
    root: &Path,
    shelf: &Shelf,
) -> anyhow::Result<Vec<Pair>> {
    let (pages, problems) = expand_each(pages, root, shelf)?;
    ensure!(problems.is_empty(), "{}", list(&problems));
    Ok(pages)
}

fn list(problems: &[String]) -> String {
    format!("the book cannot be built:\n  {}", problems.join("\n  "))
}

/// Expands pages in their order, and says what is wrong with them.
fn expand_each(
    pages: &[Rc<Page>],
    root: &Path,
    shelf: &Shelf,
) -> anyhow::Result<(Vec<Pair>, Vec<String>)> {
    let desk = Desk {
        root,
        shelf,
        problems: Default::default(),
        questions: Default::default(),
    };
    let expanded: Vec<Pair> =
        pages.iter().map(|page| (page.clone(), expand(page, &desk))).collect();
    for (page, expanded) in &expanded {
        if page.lab.is_some() && expanded.predictions.is_empty() {
            desk.problems.borrow_mut().push(format!(
                "book/src/{}:1: a lab's page asks for a prediction",
                page.path.display()
            ));
        }
    }
    let named: BTreeSet<(String, String)> = expanded
        .iter()
        .flat_map(|(_, expanded)| expanded.named.clone())
        .collect();
    let problems = desk.problems.into_inner();
    let mut problems: Vec<String> =
        problems.into_iter().map(|text| text.replace('\n', "\n    ")).collect();
    problems.extend(shelf.unnamed(&named)?);
    Ok((expanded, problems))
}

/// The pages of the book on disk.
///
/// # Errors
///
/// The summary cannot be read, or a page is missing.
pub fn pages() -> anyhow::Result<Vec<Rc<Page>>> {
    let root = catalogue::root().join("book");
    let config = Config::default();
    let mdbook = MDBook::load_with_config(&root, config)?;
    in_order(&mdbook.book)
}

/// The pages of a book, in the order of the summary.
fn in_order(book: &book::Book) -> anyhow::Result<Vec<Rc<Page>>> {
    let labs = catalogue::all()?;
    let pages = book.iter().filter_map(|item| match item {
        BookItem::Chapter(Chapter {
            name, content, path: Some(path), ..
        }) => {
            let file = Path::new("book/src").join(path);
            let lab = labs.iter().find(|lab| lab.page() == file).cloned();
            Some(Rc::new(Page {
                path: path.clone(),
                title: name.clone(),
                lab,
                text: content.clone(),
            }))
        }
        _ => None,
    });
    Ok(pages.collect())
}

/// Every HTML file below a folder.
pub fn html(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = below(folder)?;
    files.retain(|file| file.extension().is_some_and(|end| end == "html"));
    Ok(files)
}

/// Every file below a folder, by name.
pub fn below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        match path.is_dir() {
            true => files.extend(below(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}
