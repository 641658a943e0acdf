//! Names for containers that were given none: a mood and somebody worth knowing, `lucid_noether`.

/// Moods.
const ADJECTIVES: &str = "
    able agile amber ample apt ardent avid azure bold brave bright brisk calm candid clear clever cool cosy curious daring deft eager
    earnest fair fervent fleet fond frank free fresh gentle glad golden grand happy hardy honest humble keen kind lively loyal lucid
    mellow merry mild modest neat nimble noble patient placid plucky polite prime proud quick quiet rapid ready robust serene sharp
    shrewd silent sincere sleek smart solid steady stoic subtle sunny swift tender tidy tough true upbeat valiant vivid warm wise witty
    zealous zen";

/// Scientists, engineers and mathematicians.
const SURNAMES: &str = "
    abel agnesi albattani archimedes aryabhata babbage banach bardeen bell bernoulli bhaskara blackwell bohr boole born brahe
    brahmagupta cantor carson cauchy cerf chandrasekhar chatelet church clarke cohen conway curie cray darwin dijkstra dirac easley
    einstein elion engelbart erdos euclid euler faraday fermat fermi feynman franklin galileo galois gauss germain gibbs goodall godel
    hamilton hawking heisenberg hellman hermann hertz hilbert hodgkin hooke hopper huygens hypatia jacobi jemison johnson kalam kapitsa
    kare keller kepler khayyam khorana kilby knuth kovalevsky lagrange lamarr lamport leavitt leibniz liskov lovelace lumiere maxwell
    mayer mccarthy mcclintock meitner mendel mendeleev mirzakhani moore morse napier nash newton nightingale nobel noether noyce pascal
    pasteur pauling payne perlman planck poincare ptolemy ramanujan raman rhodes riemann ritchie rosalind rubin sagan salam sammet
    shannon shaw shockley snyder spence stallman swartz swirles tesla tharp thompson torvalds turing varahamihira volta wiles wing
    wozniak wright wu yalow yonath zhukovsky";

/// Picks a name by a random number; `attempt` above zero adds a digit, so that a full house still finds one.
pub(crate) fn pick(random: u64, attempt: u32) -> String {
    let word = |list: &str, at: u64| {
        let words: Vec<&str> = list.split_whitespace().collect();
        words
            .get(usize::try_from(at % words.len() as u64).unwrap_or(0))
            .map_or("", |w| *w)
            .to_owned()
    };
    let name =
        format!("{}_{}", word(ADJECTIVES, random >> 32), word(SURNAMES, random & 0xffff_ffff));
    if attempt == 0 { name } else { format!("{name}{}", random % 10u64.pow(attempt.min(6))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_valid_and_has_two_parts() {
        for random in (0..200_000_000_000_000_u64).step_by(777_777_777_777) {
            let name = pick(random, 0);
            assert!(types::is_valid_name(&name), "{name}");
            assert_eq!(name.split('_').filter(|part| part.len() > 1).count(), 2, "{name}");
        }
    }

    #[test]
    fn words_are_not_doubled() {
        for list in [ADJECTIVES, SURNAMES] {
            let mut words: Vec<_> = list.split_whitespace().collect();
            let count = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), count);
        }
    }

    #[test]
    fn later_attempts_carry_a_number() {
        assert!(pick(7, 1).ends_with('7'));
    }
}
