#include "src/submit/batch_script.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/source_folder.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(batch_script)

BOOST_AUTO_TEST_CASE(everything_in_one_file)
{
    const std::string text = sluice::batch_script(
        {.comment = "one\ntwo",
         .sbatch = {{"nodes", "2"}, {"exclusive", ""}, {"comment", "two words"}},
         .variables = {{"A", "it's"}, {"B", "x/y"}},
         .run_file = "my run.toml",
         .train_options = {"--set", "run.seed=1"}});
    BOOST_TEST(text.starts_with("#!/bin/bash\n# one\n# two\n\n#SBATCH --nodes=2\n"
                                "#SBATCH --exclusive\n#SBATCH --comment=\"two words\"\n\n"
                                "export A='it'\\''s'\nexport B=x/y\n"));
    BOOST_TEST(text.ends_with("\ntrain_and_continue 'my run.toml' --set run.seed=1\n"));
    BOOST_TEST(text.find(chain_script) != std::string::npos);
    BOOST_TEST(chain_script == read_file(source_path("slurm/chain.sh")));
}

BOOST_AUTO_TEST_CASE(words_of_a_shell)
{
    BOOST_TEST(shell_word("a-b_c/d.e=f:g,h+i@j%k") == "a-b_c/d.e=f:g,h+i@j%k");
    BOOST_TEST(shell_word("") == "''");
    BOOST_TEST(shell_word("a b") == "'a b'");
    BOOST_TEST(shell_word("$(x)") == "'$(x)'");
    BOOST_TEST(shell_word("'") == "''\\'''");
}

BOOST_AUTO_TEST_CASE(an_option_cannot_end_its_line)
{
    const BatchJob job{.comment = "",
                       .sbatch = {{"partition", "a\nrm -rf x"}},
                       .variables = {},
                       .run_file = "r.toml",
                       .train_options = {}};
    BOOST_CHECK_THROW(sluice::batch_script(job), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
