#include "src/plan/cost_file.hpp"

#include "core/durable_file.hpp"
#include "tests/src/plan/plan_fixture.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <filesystem>

using namespace sluice;

namespace {

struct Folder : testing::TemporaryFolder {
    std::filesystem::path file() const { return path() / "costs.json"; }

    CostConditions conditions{test::small_run().model, {2, 8}, "fp32", "cpu"};

    /// The file with `from` replaced by `to`, read: the problem it names.
    std::string problem_with(const std::string& from, const std::string& to)
    {
        write_cost_file(file(), costs_from_flops(conditions.model, conditions.micro_batch),
                        conditions);
        std::string text = read_file(file());
        const std::size_t at = text.find(from);
        BOOST_REQUIRE(at != std::string::npos);
        write_file_durably(file(), text.replace(at, from.size(), to));
        try {
            read_cost_file(file(), conditions);
        } catch (const UserError& error) {
            BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(ExitCode::data));
            BOOST_TEST(error.where() == file().string());
            return error.problem();
        }
        return "none";
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(cost_file, Folder, *boost::unit_test::tolerance(1e-12))

BOOST_AUTO_TEST_CASE(what_is_written_is_read)
{
    CostModel written = costs_from_flops(conditions.model, conditions.micro_batch);
    written.embedding = {1e-3, 2e-3, 3e-3};
    write_cost_file(file(), written, conditions);
    const CostModel read = read_cost_file(file(), conditions);
    BOOST_TEST(read.embedding.backward_weight == 3e-3);
    BOOST_TEST(read.decoder_layer.backward_input == written.decoder_layer.backward_input);
    BOOST_TEST(read.head.total() == written.head.total());
    BOOST_TEST(read.recompute.lean == written.recompute.lean);
    BOOST_TEST(read.optimizer_per_parameter == written.optimizer_per_parameter);
    BOOST_TEST(read.transfer_latency == written.transfer_latency);
    BOOST_TEST(read.transfer_bytes_per_second == written.transfer_bytes_per_second);
    BOOST_TEST(read.source == file().string() + " (" + written.source + ")");
}

// Twice the sequences take twice the time; more layers of the same kind take the same each.
BOOST_AUTO_TEST_CASE(other_sizes_of_the_same_layers)
{
    const CostModel written = costs_from_flops(conditions.model, conditions.micro_batch);
    write_cost_file(file(), written, conditions);
    CostConditions larger = conditions;
    larger.micro_batch.num_sequences = 4;
    larger.model.num_layers = 1000;
    const CostModel read = read_cost_file(file(), larger);
    BOOST_TEST(read.decoder_layer.forward == 2.0 * written.decoder_layer.forward);
    BOOST_TEST(read.recompute.full == 2.0 * written.recompute.full);
    BOOST_TEST(read.transfer_latency == written.transfer_latency);
}

BOOST_AUTO_TEST_CASE(files_from_before_precisions_and_devices_were_written)
{
    write_cost_file(file(), costs_from_flops(conditions.model, conditions.micro_batch), conditions);
    std::string text = read_file(file());
    const std::string younger = ",\n    \"precision\": \"fp32\",\n    \"device\": \"cpu\"";
    const std::size_t at = text.find(younger);
    BOOST_REQUIRE(at != std::string::npos);
    write_file_durably(file(), text.erase(at, younger.size()));
    BOOST_CHECK_NO_THROW(read_cost_file(file(), conditions));
}

BOOST_AUTO_TEST_CASE(faults_are_named)
{
    BOOST_TEST(problem_with("{", "[{").starts_with("this is not JSON: "));
    BOOST_TEST(problem_with("sluice costs 1", "sluice costs 2") ==
               "the format is 'sluice costs 2', not 'sluice costs 1'");
    BOOST_TEST(problem_with("\"backward_input\"", "\"backward_inputs\"") ==
               "'seconds.embedding.backward_input' is missing");
    BOOST_TEST(problem_with("\"embedding\": {", "\"embedding\": {\"wait\": 1,") ==
               "'seconds.embedding.wait' is no entry of a costs file");
    BOOST_TEST(
        problem_with("\"transfer_latency\": ", "\"transfer_latncy\": 1, \"transfer_latency\": ") ==
        "'seconds.transfer_latncy' is no entry of a costs file; did you mean "
        "'transfer_latency'?");
    BOOST_TEST(problem_with("\"transfer_latency\": ", "\"transfer_latency\": -") ==
               "'seconds.transfer_latency' is -1e-05, not seconds from 0 to 1e+06");
    BOOST_TEST(problem_with("\"precision\": \"fp32\"", "\"precision\": \"bf16\"") ==
               "these costs are for precision = \"bf16\", the run has \"fp32\"");
    BOOST_TEST(problem_with("\"device\": \"cpu\"", "\"device\": \"cuda\"") ==
               "these costs are for device = \"cuda\", the run has \"cpu\"");
    BOOST_TEST(problem_with("\"hidden_size\": 16", "\"hidden_size\": 32") ==
               "these costs are for hidden_size = 32, the run has 16");
    BOOST_TEST(problem_with("\"micro_batch_size\": 2", "\"micro_batch_size\": 0") ==
               "'conditions.micro_batch_size' is 0, not a whole number from 1 to 1000000000");
    BOOST_TEST(problem_with("\"seconds\": {", "\"seconds\": 1, \"more\": {") ==
               "'seconds.' is not an object");
    BOOST_CHECK_THROW(read_cost_file(*this / "missing.json", conditions), UserError);
}

// As deep and as wide as a file of that size can be.
BOOST_AUTO_TEST_CASE(bombs_are_refused)
{
    const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
    BOOST_TEST(problem_with("\"hidden_size\": 16", "\"hidden_size\": " + deep) ==
               "'conditions.hidden_size' is an array, not a whole number from 1 to 1000000000");
    BOOST_TEST(problem_with("\"transfer_latency\": 1e-05", "\"transfer_latency\": " + deep) ==
               "'seconds.transfer_latency' is an array, not seconds from 0 to 1e+06");
    std::string wide;
    for (int i = 0; i < 100'000; ++i)
        wide += "\"k" + std::to_string(i) + "\": 1, ";
    BOOST_TEST(problem_with("\"seconds\": {", "\"seconds\": {" + wide) ==
               "'seconds.k0' is no entry of a costs file");
}

// Numbers that JSON can write and no machine can take.
BOOST_AUTO_TEST_CASE(absurd_numbers_are_refused)
{
    const std::string latency = "\"transfer_latency\": 1e-05";
    for (const char* absurd : {"1e308", "1e7", "\"1\"", "null"})
        BOOST_TEST(problem_with(latency, std::string("\"transfer_latency\": ") + absurd)
                       .ends_with(", not seconds from 0 to 1e+06"));
    const std::string rate = "\"transfer_bytes_per_second\": ";
    for (const char* absurd : {"5e-324", "0", "-1", "1e19", "1e308"})
        BOOST_TEST(problem_with(rate + "10000000000.0", rate + absurd)
                       .ends_with(", not bytes per second from 1 to 1e+18"));
    const std::string size = "\"micro_batch_size\": ";
    for (const char* absurd : {"1.5", "2.0", "-2", "18446744073709551615", "\"2\""})
        BOOST_TEST(problem_with(size + "2", size + absurd)
                       .ends_with(", not a whole number from 1 to 1000000000"));
    CostModel idle = costs_from_flops(conditions.model, conditions.micro_batch);
    idle.decoder_layer = {5e-324, 0.0, 0.0};
    write_cost_file(file(), idle, conditions);
    BOOST_CHECK_THROW(read_cost_file(file(), conditions), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
