#include "core/logging.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <fcntl.h>
#include <functional>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace sluice;
using testing::TemporaryFolder;

namespace {

/// What `work` writes to standard error.
std::string standard_error_of(const fs::path& scratch, const std::function<void()>& work)
{
    std::fflush(stderr);
    const int saved = ::dup(2);
    const int file = ::open(scratch.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    ::dup2(file, 2);
    work();
    std::fflush(stderr);
    ::dup2(saved, 2);
    ::close(saved);
    ::close(file);
    return read_file(scratch);
}

} // namespace

BOOST_AUTO_TEST_SUITE(logging)

BOOST_AUTO_TEST_CASE(rank_0_speaks_and_others_only_of_errors)
{
    const TemporaryFolder folder;
    const auto say_all = [] {
        log_info("saved {}");
        log_warning("old format");
        log_error("disk full");
    };
    start_logging(0, 2);
    BOOST_TEST(standard_error_of(folder / "0", say_all) ==
               "[sluice] saved {}\n[sluice] warning: old format\n[sluice] error: disk full\n");
    start_logging(1, 2);
    BOOST_TEST(standard_error_of(folder / "1", say_all) == "[sluice rank 1] error: disk full\n");
    start_logging(0, 1);
}

BOOST_AUTO_TEST_CASE(the_log_file_is_appended_to_with_times)
{
    const TemporaryFolder folder;
    const fs::path log = folder / "log.txt";
    start_logging(0, 1);
    standard_error_of(folder / "e", [] { log_warning("before there was a file"); });
    for (const char* message : {"first", "second"}) {
        log_to_file(log);
        standard_error_of(folder / "e", [&] { log_info(message); });
    }
    const std::string text = read_file(log);
    BOOST_TEST(text.find(" [sluice] first\n") != std::string::npos, text);
    BOOST_TEST(text.find(" [sluice] second\n") != std::string::npos, text);
    BOOST_TEST(text.starts_with("20"), text);
    const std::string before = " [sluice] warning: before there was a file\n";
    BOOST_TEST(text.find(before) < text.find(" [sluice] first\n"), text);
    BOOST_TEST(text.find(before) == text.rfind(before), text); // once
    const fs::path other = folder / "other.txt";
    log_to_file(other);
    BOOST_TEST(read_file(other) == "");
    BOOST_CHECK_THROW(log_to_file("/proc/nonexistent/log.txt"), UserError);
}

BOOST_AUTO_TEST_CASE(last_words_come_from_any_process_to_a_log_that_is_there)
{
    const TemporaryFolder folder;
    const fs::path log = folder / "log.txt";
    log_last_words(log, "nobody has begun it");
    BOOST_TEST(!fs::exists(log));
    log_to_file(log);
    standard_error_of(folder / "e", [] { log_info("first"); });
    const auto at_its_end = [&] { log_last_words(log, "rank 1 hangs\n  what to do: wait"); };
    BOOST_TEST(standard_error_of(folder / "e", at_its_end) == "");
    BOOST_TEST(read_file(log).find(" [sluice] first\n") != std::string::npos);
    BOOST_TEST(read_file(log).ends_with(" [sluice] error: rank 1 hangs\n"));
    log_last_words(log,
                   "the run file differs:\n    run.updates: 3\n    run.seed: 4\n  what to do: no");
    BOOST_TEST(read_file(log).ends_with(
        " [sluice] error: the run file differs: run.updates: 3 run.seed: 4\n"));
    log_last_words("/proc/1/status", "not a log"); // nor writable, by many
}

BOOST_AUTO_TEST_SUITE_END()
