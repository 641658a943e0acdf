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
    let widths = widths(&rows, spacing);
    for (row, widths) in rows.iter().zip(widths) {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(column) {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    out
}

/// The widths of every line's padded cells.
fn widths(rows: &[Vec<&str>], spacing: Spacing) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = rows.iter().map(|row| vec![0; row.len() - 1]).collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < rows.len() {
            let block = rows[start..].iter().take_while(|row| row.len() > column + 1);
            let cells: Vec<usize> = block.map(|row| row[column].chars().count()).collect();
            let widest = cells.iter().max().copied().unwrap_or(0);
            for widths in &mut all[start..start + cells.len()] {
                widths[column] = (widest + spacing.padding).max(spacing.min);
            }
            start += cells.len().max(1);
        }
    }
    all
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
