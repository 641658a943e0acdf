//! Columns as Go's `text/tabwriter` sets them.

/// Smallest cell and padding, in characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spacing {
    min: usize,
    padding: usize,
}

/// Listings (`ps`, `images`, …).
pub(crate) const LISTING: Spacing = Spacing { min: 10, padding: 3 };
/// `top`.
pub(crate) const WIDE: Spacing = Spacing { min: 20, padding: 3 };

/// Aligns the tab-separated cells of `lines`. A column is a run of consecutive lines that have a cell there followed by a tab; the
/// last cell of a line is never padded.
pub(crate) fn align(lines: &[impl AsRef<str>], spacing: Spacing) -> String {
    let text = lines.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("\n");
    let rows: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    for (at, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                let width = width(&rows, at, column, spacing);
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    out
}

/// The width of the column block that cell (`at`, `column`) belongs to.
fn width(rows: &[Vec<&str>], at: usize, column: usize, spacing: Spacing) -> usize {
    let in_block = |row: &&Vec<&str>| row.len() > column + 1;
    let above = rows[..at].iter().rev().take_while(in_block);
    let below = rows[at..].iter().take_while(in_block);
    let widest = above.chain(below).map(|row| row[column].chars().count()).max().unwrap_or(0);
    (widest + spacing.padding).max(spacing.min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_columns_have_a_least_width() {
        assert_eq!(
            align(&["A\tB\tC", "1\t2\t3"], LISTING),
            "A         B         C\n1         2         3\n"
        );
    }

    #[test]
    fn characters_count_not_bytes() {
        let lines = ["COMMAND\tX", "\"aaaaaaaaaaaaaaaaaa…\"\ty"];
        assert_eq!(
            align(&lines, LISTING),
            "COMMAND                 X\n\"aaaaaaaaaaaaaaaaaa…\"   y\n"
        );
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(align(&[] as &[&str], LISTING), "");
    }
}
