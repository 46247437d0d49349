curl -X POST https://api.vexrail.com/v1/chat/completions \
-H "Content-Type: application/json" \
-H "x-publishable-key: pk_live_your_publishable_key" \
-H "x-secret-key: sk_live_your_secret_key" \
-H "x-conversation-id: unique-conversation-id" \
-d '{
"model": "gpt-4o-mini",
"messages": [
{"role": "user", "content": "Hello, world!"}
]
}'
