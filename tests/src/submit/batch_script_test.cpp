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

BatchJob with_option(const std::string& option, const std::string& value)
{
    return {.comment = "",
            .sbatch = {{option, value}},
            .variables = {},
            .run_file = "r.toml",
            .train_options = {}};
}

BOOST_AUTO_TEST_CASE(what_sbatch_would_take_away_is_quoted)
{
    const auto line = [](const char* value) {
        const std::string text = sluice::batch_script(with_option("comment", value));
        const std::size_t begin = text.find("#SBATCH");
        return text.substr(begin, text.find('\n', begin) - begin);
    };
    BOOST_TEST(line("a/b-c.d") == "#SBATCH --comment=a/b-c.d");
    BOOST_TEST(line("b'ob") == "#SBATCH --comment=\"b'ob\"");
    BOOST_TEST(line("h#1") == "#SBATCH --comment=\"h#1\"");
    BOOST_TEST(line("a\\b") == "#SBATCH --comment=\"a\\\\b\"");
}

BOOST_AUTO_TEST_CASE(options_that_would_break_the_script_are_refused)
{
    for (const auto& [option, value] : {std::pair{"partition", "a\nrm -rf x"},
                                        {"", "x"},
                                        {"x n3", ""},
                                        {"Nodes", "1"},
                                        {"-x", ""},
                                        {"job-name", "a/b"}})
        BOOST_CHECK_THROW(sluice::batch_script(with_option(option, value)), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
