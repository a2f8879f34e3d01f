#include "io/metrics_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <limits>
#include <sys/resource.h>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

namespace {

void write_update(MetricsFile& file, std::int64_t update)
{
    file.write("update", std::vector<MetricField>{{"update", update}, {"loss", 0.1}});
}

std::string update_line(std::int64_t update)
{
    return "{\"event\":\"update\",\"update\":" + std::to_string(update) +
           ",\"loss\":0.10000000000000001}\n";
}

/// While it lives, the file can grow by ten bytes.
class FullDisk {
public:
    explicit FullDisk(const fs::path& path)
    {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit small{fs::file_size(path) + 10, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &small);
    }
    ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
    FullDisk(const FullDisk&) = delete;
    FullDisk& operator=(const FullDisk&) = delete;

private:
    rlimit before_{};
};

void append(const fs::path& path, const std::string& text)
{
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

} // namespace

BOOST_AUTO_TEST_SUITE(metrics_file)

BOOST_AUTO_TEST_CASE(one_line_with_every_kind_of_value)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    MetricsFile file(path, 0);
    file.write("update", std::vector<MetricField>{{"update", std::int64_t{3}},
                                                  {"third", 1.0 / 3.0},
                                                  {"one", 1.0},
                                                  {"tiny", 5e-324},
                                                  {"text", std::string("a \"b\"\n\xff")},
                                                  {"flag", true},
                                                  {"alpha", std::vector<double>{0.5, 1.0}},
                                                  {"none", std::vector<double>{}},
                                                  {"samples", std::vector<std::int64_t>{7, 9}}});
    BOOST_TEST(read_file(path) ==
               "{\"event\":\"update\",\"update\":3,\"third\":0.33333333333333331,\"one\":1.0,"
               "\"tiny\":4.9406564584124654e-324,\"text\":\"a \\\"b\\\"\\n\xef\xbf\xbd\","
               "\"flag\":true,\"alpha\":[0.5,1.0],\"none\":[],\"samples\":[7,9]}\n");
}

BOOST_AUTO_TEST_CASE(a_run_that_goes_back_drops_the_lines_behind)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    MetricsFile file(path, 0);
    for (const std::int64_t update : {1, 2, 3, 4})
        write_update(file, update);
    file.drop_after(2);
    write_update(file, 3);
    BOOST_TEST(read_file(path) == update_line(1) + update_line(2) + update_line(3));
}

BOOST_AUTO_TEST_CASE(what_json_has_no_number_for_is_null_and_named)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    constexpr double infinity = std::numeric_limits<double>::infinity();
    MetricsFile file(path, 0);
    file.write("update",
               std::vector<MetricField>{{"loss", std::numeric_limits<double>::quiet_NaN()},
                                        {"alpha", std::vector<double>{1.0, -infinity}},
                                        {"grad_norm", infinity}});
    BOOST_TEST(read_file(path) ==
               "{\"event\":\"update\",\"loss\":null,\"alpha\":[1.0,null],\"grad_norm\":null,"
               "\"nonfinite\":{\"loss\":\"nan\",\"alpha[1]\":\"-inf\",\"grad_norm\":\"inf\"}}\n");
}

BOOST_AUTO_TEST_CASE(lines_of_updates_that_will_run_again_are_removed)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    {
        MetricsFile file(path, 0);
        for (std::int64_t update = 1; update <= 9; ++update)
            write_update(file, update);
    }
    append(path, "{\"event\":\"update\",\"upda"); // died in the middle of a line
    {
        MetricsFile file(path, 4);
        write_update(file, 5);
    }
    std::string expected;
    for (std::int64_t update = 1; update <= 5; ++update)
        expected += update_line(update);
    BOOST_TEST(read_file(path) == expected);
    MetricsFile same(path, 5);
    BOOST_TEST(read_file(path) == expected);
    MetricsFile fresh(path, 0);
    BOOST_TEST(read_file(path).empty());
}

// A checkpoint written while training went on is announced behind later updates.
BOOST_AUTO_TEST_CASE(late_checkpoints_stay_where_the_updates_before_them_go)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    const auto announce = [](MetricsFile& file, std::int64_t update) {
        file.write(update == 2 ? "checkpoint_failed" : "checkpoint",
                   std::vector<MetricField>{{"update", update}});
    };
    const auto announcement = [](std::int64_t update) {
        return "{\"event\":\"checkpoint" + std::string(update == 2 ? "_failed" : "") +
               "\",\"update\":" + std::to_string(update) + "}\n";
    };
    {
        MetricsFile file(path, 0);
        for (const std::int64_t update : {1, 2, 3})
            write_update(file, update);
        announce(file, 2);
        write_update(file, 4);
        write_update(file, 5);
        announce(file, 4);
        write_update(file, 6);
        announce(file, 6);
    }
    const std::string until_4 =
        update_line(1) + update_line(2) + update_line(3) + announcement(2) + update_line(4);
    MetricsFile(path, 4);
    BOOST_TEST(read_file(path) == until_4 + announcement(4));
    MetricsFile(path, 4);
    BOOST_TEST(read_file(path) == until_4 + announcement(4));
    MetricsFile(path, 2);
    BOOST_TEST(read_file(path) == update_line(1) + update_line(2) + announcement(2));
}

BOOST_AUTO_TEST_CASE(long_lines_and_garbage_at_the_end)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    const std::string long_line =
        "{\"event\":\"update\",\"update\":2,\"alpha\":[" + std::string(300'000, ' ') + "1" + "]}\n";
    append(path, update_line(1));
    for (int i = 0; i < 5; ++i)
        append(path, long_line);
    append(path, std::string(5000, '\0') + "\nnot json\n[]\n\n");
    MetricsFile file(path, 1);
    BOOST_TEST(read_file(path) == update_line(1));
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_whole_lines)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    MetricsFile file(path, 0);
    write_update(file, 1);
    std::string message;
    {
        const FullDisk full(path);
        message = message_of([&] { write_update(file, 2); });
    }
    BOOST_TEST(contains(message, "metrics.jsonl: File too large (write)"), message);
    BOOST_TEST(read_file(path) == update_line(1));
    write_update(file, 2);
    file.sync();
    BOOST_TEST(read_file(path) == update_line(1) + update_line(2));
    BOOST_TEST(contains(message_of([&] { MetricsFile(scratch.path() / "absent/m.jsonl", 0); }),
                        "No such file or directory (open)"));
}

/// Of which the first line is written, and refused ones wait.
struct PatientFile {
    TemporaryFolder scratch;
    fs::path path = scratch.path() / "metrics.jsonl";
    MetricsFile file{path, 0};

    explicit PatientFile(std::size_t most_bytes = 1000)
    {
        file.keep_refused_lines(most_bytes);
        write_update(file, 1);
    }
};

BOOST_AUTO_TEST_CASE(refused_lines_wait_in_their_order)
{
    PatientFile patient;
    auto& [scratch, path, file] = patient;
    BOOST_TEST(file.why_lines_wait() == "");
    {
        const FullDisk full(path);
        write_update(file, 2);
        write_update(file, 3);
        BOOST_TEST(read_file(path) == update_line(1));
        BOOST_TEST(file.why_lines_wait() == path.string() + ": File too large (write)");
        BOOST_TEST(contains(message_of([&] { file.sync(); }), "File too large (write)"));
    }
    write_update(file, 4);
    const std::string all = update_line(1) + update_line(2) + update_line(3) + update_line(4);
    BOOST_TEST(read_file(path) == all);
    BOOST_TEST(file.why_lines_wait() == "");
    {
        const FullDisk full(path);
        write_update(file, 5);
    }
    file.sync();
    BOOST_TEST(read_file(path) == all + update_line(5));
}

BOOST_AUTO_TEST_CASE(lines_that_wait_are_dropped_like_those_that_are_written)
{
    PatientFile patient;
    auto& [scratch, path, file] = patient;
    {
        const FullDisk full(path);
        write_update(file, 2);
        write_update(file, 3);
        file.drop_after(2);
    }
    file.sync();
    BOOST_TEST(read_file(path) == update_line(1) + update_line(2));
}

BOOST_AUTO_TEST_CASE(lines_that_wait_have_a_limit)
{
    PatientFile patient(1000);
    const FullDisk full(patient.path);
    const std::vector<MetricField> large{{"text", std::string(700, 'x')}};
    patient.file.write("note", large);
    BOOST_TEST(
        contains(message_of([&] { patient.file.write("note", large); }), "File too large (write)"));
}

BOOST_AUTO_TEST_CASE(a_file_that_goes_while_it_is_written_is_put_back)
{
    TemporaryFolder scratch;
    const fs::path path = scratch.path() / "metrics.jsonl";
    MetricsFile file(path, 0);
    std::string expected;
    for (std::int64_t update = 1; update <= 20'000; ++update) {
        write_update(file, update);
        expected += update_line(update);
    }
    BOOST_TEST(!file.put_back());
    fs::remove(path);
    BOOST_TEST(file.put_back());
    BOOST_TEST((read_file(path) == expected));
    write_update(file, 20'001);
    file.sync();
    expected += update_line(20'001);
    BOOST_TEST((read_file(path) == expected));
    BOOST_TEST(!file.put_back());

    fs::rename(path, scratch.path() / "moved");
    append(path, "of somebody else\n");
    BOOST_TEST(file.put_back());
    BOOST_TEST((read_file(path) == expected));
    BOOST_TEST(read_file(path.string() + ".other") == "of somebody else\n");
    BOOST_TEST((read_file(scratch.path() / "moved") == expected));
    file.drop_after(7);
    write_update(file, 8);
    BOOST_TEST(read_file(path).ends_with(update_line(7) + update_line(8)));
}

BOOST_AUTO_TEST_SUITE_END()
