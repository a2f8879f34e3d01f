#include "io/line_file.hpp"

#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

using namespace sluice;
using namespace sluice::testing;

BOOST_AUTO_TEST_SUITE(line_file)

/// A pipe takes what is written and refuses fsync, as a network file system may that has lost it.
BOOST_AUTO_TEST_CASE(lines_that_never_came_to_disk_wait_again)
{
    const TemporaryFolder scratch;
    const auto path = scratch / "pipe";
    BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    LineFile file(path);
    const auto taken = [&] {
        std::array<char, 100> bytes{};
        const ssize_t count = ::read(file.descriptor(), bytes.data(), bytes.size());
        return std::string(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    };
    file.append("before\n");
    BOOST_TEST(taken() == "before\n");
    file.keep_refused_lines(20);
    file.append("one\n");
    file.append("two\n");
    BOOST_TEST(taken() == "one\ntwo\n");
    BOOST_TEST(file.why_lines_wait() == "");
    BOOST_TEST(contains(message_of([&] { file.sync(); }), "(fsync)"));
    BOOST_TEST(contains(file.why_lines_wait(), "(fsync)"));
    BOOST_TEST(file.size_bytes() == 7U); // as far as it is known to be on disk
    // A pipe cannot be cut to that, so the lines go on waiting; then there are too many.
    file.append("three\n");
    BOOST_TEST(contains(file.why_lines_wait(), "(ftruncate)"));
    BOOST_TEST(contains(message_of([&] { file.append("four, five\n"); }), "(ftruncate)"));
}

BOOST_AUTO_TEST_CASE(without_being_asked_to_it_keeps_nothing)
{
    const TemporaryFolder scratch;
    const auto path = scratch / "pipe";
    BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    LineFile file(path);
    file.append("one\n");
    BOOST_TEST(contains(message_of([&] { file.sync(); }), "(fsync)"));
    BOOST_TEST(file.why_lines_wait() == "");
    BOOST_TEST(file.size_bytes() == 4U);
}

BOOST_AUTO_TEST_SUITE_END()
