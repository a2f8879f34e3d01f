#include "src/data/token_file_listing.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

nlohmann::ordered_json listing(const TokenFileInfo& info)
{
    return {{"tokenizer", info.tokenizer},
            {"vocab_size", info.vocab_size},
            {"end_token", info.end_token},
            {"num_documents", info.num_documents},
            {"num_tokens", info.num_tokens},
            {"dtype", std::string(name_of(info.dtype))},
            {"split", info.split},
            {"checksum", info.checksum},
            {"inputs_digest", info.inputs_digest},
            {"created_by", info.created_by}};
}

} // namespace

std::string token_file_json(const TokenFileInfo& info, bool verified)
{
    auto json = listing(info);
    json["verified"] = verified;
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"; // names
}

std::string token_file_text(const TokenFileInfo& info, bool verified)
{
    const nlohmann::ordered_json values = listing(info);
    std::string text;
    for (const auto& [key, value] : values.items())
        text += fmt::format("{:<15}{}\n", key,
                            value.is_string() ? value.get<std::string>() : value.dump());
    if (verified)
        text += "verified: checksum, ids, and document offsets are as they should be\n";
    return text;
}

} // namespace sluice
