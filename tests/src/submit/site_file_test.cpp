#include "src/submit/site_file.hpp"

#include "core/error.hpp"
#include "tests/source_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <filesystem>

using namespace sluice;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

void check_refused(const std::string& text, const std::string& part)
{
    BOOST_TEST_CONTEXT(text)
    BOOST_CHECK_EXCEPTION(
        parse_site_settings(text, "x.env"), UserError, [&](const UserError& error) {
            const std::string message = error.what();
            return error.code() == ExitCode::usage && message.find(part) != std::string::npos;
        });
}

} // namespace

BOOST_AUTO_TEST_SUITE(site_file)

BOOST_AUTO_TEST_CASE(settings_go_to_sbatch_or_to_the_job)
{
    const SiteSettings site = parse_site_settings("# a cluster\n"
                                                  "\n"
                                                  "SBATCH_PARTITION=main\r\n"
                                                  "  SBATCH_TIMELIMIT=1-00:00:00\n"
                                                  "SLUICE_MODULES=\"gcc/12 openmpi/4.1\"\n"
                                                  "OMPI_MCA_btl=self,vader,tcp\n"
                                                  "EMPTY=",
                                                  "x.env");
    BOOST_TEST((site.sbatch == Settings{{"partition", "main"}, {"time", "1-00:00:00"}}));
    BOOST_TEST((site.variables == Settings{{"SLUICE_MODULES", "gcc/12 openmpi/4.1"},
                                           {"OMPI_MCA_btl", "self,vader,tcp"},
                                           {"EMPTY", ""}}));
}

// Whatever a shell would make of it and this reader would not.
BOOST_AUTO_TEST_CASE(anything_but_settings_is_refused_with_its_line)
{
    check_refused("A=1\nmodule load gcc\n", "line 2");
    check_refused("export A=1\n", "line 1");
    check_refused("A=$HOME/x", "'$'");
    check_refused("A=\"$(hostname)\"", "'$'");
    check_refused("A=`hostname`", "'`'");
    check_refused("A=one two", "a blank");
    check_refused("A=one;rm", "';'");
    check_refused("A=\"open", "'\"'");
    check_refused("1A=2", "NAME=value");
    check_refused("SBATCH_PARTITON=x", "SBATCH_PARTITION");
}

BOOST_AUTO_TEST_CASE(names_of_sbatch)
{
    BOOST_TEST(option_of_variable("SBATCH_MEM_PER_NODE") == "mem");
    BOOST_TEST(variable_of_option("time") == "SBATCH_TIMELIMIT");
    BOOST_TEST(variable_of_option("nodes") == "");
}

BOOST_AUTO_TEST_CASE(the_examples)
{
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(source_path("slurm/sites")))
        if (entry.path().extension() == ".env") {
            const SiteSettings site = read_site_file(entry.path());
            BOOST_TEST(!site.sbatch.empty());
            ++count;
        }
    BOOST_TEST(count >= 3);
}

BOOST_AUTO_TEST_SUITE_END()
