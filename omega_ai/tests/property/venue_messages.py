"""One message of every documented kind, written after the venues' documentation, as seeds for mutation."""

from __future__ import annotations

DOCUMENTED: dict[str, tuple[bytes, ...]] = {
    "binance": (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000124,"s":"BTCUSDT","t":42,"p":"61800.10",'
        b'"q":"0.005","T":1700000000123,"m":true,"M":true}}',
        b'{"stream":"btcusdt@bookTicker","data":{"u":7,"s":"BTCUSDT","b":"61800.0","B":"1.5","a":"61800.1","A":"0.25"}}',
        b'{"stream":"btcusdt@miniTicker","data":{"e":"24hrMiniTicker","E":1700000000124,"s":"BTCUSDT","c":"1",'
        b'"o":"1","h":"1","l":"1","v":"12345.6","q":"1"}}',
        b'{"e":"serverShutdown","E":1700000000000}',
        b'{"result":null,"id":1}',
        b'{"error":{"code":2,"msg":"Invalid request"},"id":1}',
    ),
    "coinbase": (
        b'{"channel":"market_trades","client_id":"","timestamp":"2026-01-02T03:04:06.123456789Z","sequence_num":8,'
        b'"events":[{"type":"snapshot","trades":[{"product_id":"BTC-USD","trade_id":"12","price":"61800.10",'
        b'"size":"0.005","time":"2026-01-02T03:04:05.6Z","side":"BUY"},{"product_id":"BTC-USD","trade_id":"11",'
        b'"price":"61800.10","size":"0.005","time":"2026-01-02T03:04:05.6Z","side":"SELL"}]}]}',
        b'{"channel":"ticker","client_id":"","timestamp":"2026-01-02T03:04:06.123456789Z","sequence_num":9,'
        b'"events":[{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"1",'
        b'"volume_24_h":"4.5","best_bid":"61800.00","best_ask":"61800.10","best_bid_quantity":"1",'
        b'"best_ask_quantity":"2"}]}]}',
        b'{"channel":"subscriptions","client_id":"","timestamp":"2026-01-02T03:04:06Z","sequence_num":1,'
        b'"events":[{"subscriptions":{"ticker":["BTC-USD"]}}]}',
        b'{"channel":"heartbeats","client_id":"","timestamp":"2026-01-02T03:04:06Z","sequence_num":2,'
        b'"events":[{"current_time":"2026-01-02 03:04:05.6 +0000 UTC m=+1.2","heartbeat_counter":3}]}',
        b'{"type":"error","message":"channel not found"}',
    ),
    "kraken": (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":61800.10,'
        b'"qty":0.00500000,"ord_type":"limit","trade_id":7,"timestamp":"2026-01-02T03:04:05.678901Z"}]}',
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":61800.0,"bid_qty":2,"ask":61800.1,'
        b'"ask_qty":3,"last":1,"volume":4.5,"vwap":1,"low":1,"high":1,"change":0,"change_pct":0,'
        b'"timestamp":"2026-01-02T03:04:05.678901Z"}]}',
        b'{"channel":"heartbeat"}',
        b'{"method":"subscribe","result":{"channel":"trade","snapshot":true,"symbol":"BTC/USD"},"success":true,'
        b'"time_in":"2026-01-02T03:04:05Z","time_out":"2026-01-02T03:04:05Z","req_id":1}',
        b'{"error":"Currency pair not supported","method":"subscribe","success":false,"symbol":"BTC/USX"}',
        b'{"method":"pong","req_id":1}',
        b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":61800.0,"qty":1.5}],'
        b'"asks":[{"price":61800.1,"qty":0.5}],"checksum":1}]}',
    ),
    "bitstamp": (
        b'{"data":{"id":7,"timestamp":"1767323045","amount":0.005,"amount_str":"0.00500000","price":61800.1,'
        b'"price_str":"61800.10","type":0,"microtimestamp":"1767323045678901","buy_order_id":1,"sell_order_id":2},'
        b'"channel":"live_trades_btcusd","event":"trade"}',
        b'{"data":{"timestamp":"1767323045","microtimestamp":"1767323045678901","bids":[["61800.00","1"]],'
        b'"asks":[["61800.10","3"]]},"channel":"order_book_btcusd","event":"data"}',
        b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}',
        b'{"event":"bts:error","channel":"","data":{"code":4004,"message":"Bad"}}',
    ),
    "okx": (
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"7","px":"61800.10",'
        b'"sz":"0.005","side":"sell","ts":"1767323045678","count":"3"}]}',
        b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["61800.20","2","0","1"]],'
        b'"bids":[["61800.10","1","0","1"]],"ts":"1767323045678","seqId":5}]}',
        b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","vol24h":"123.5",'
        b'"ts":"1767323045678"}]}',
        b'{"event":"error","code":"60012","msg":"Invalid request","connId":"a"}',
    ),
    "bybit": (
        b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1767323045680,"data":[{"T":1767323045678,'
        b'"s":"BTCUSDT","S":"Buy","v":"0.005","p":"61800.10","L":"PlusTick","i":"2290000000061666327","BT":false}]}',
        b'{"topic":"orderbook.1.BTCUSDT","type":"delta","ts":1767323045678,"data":{"s":"BTCUSDT",'
        b'"b":[["61800.10","0"]],"a":[["61800.20","2"]],"u":5,"seq":6},"cts":1}',
        b'{"topic":"tickers.BTCUSDT","ts":1767323045678,"type":"snapshot","data":{"symbol":"BTCUSDT",'
        b'"volume24h":"6.5"}}',
        b'{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"1","op":"subscribe"}',
    ),
}

REST: dict[str, tuple[bytes, ...]] = {
    "binance": (
        b'[{"id":42,"price":"61800.10","qty":"0.005","quoteQty":"1","time":1700000000123,"isBuyerMaker":true}]',
    ),
    "coinbase": (
        b'{"trades":[{"product_id":"BTC-USD","trade_id":"11","price":"61800.10","size":"0.005",'
        b'"time":"2026-01-02T03:04:05.6Z","side":"SELL"}],"best_bid":"1","best_ask":"2"}',
    ),
    "kraken": (
        b'{"error":[],"result":{"XXBTZUSD":[["61800.10000","0.00500000",1767323045.678901,"s","l","",7]],'
        b'"last":"1767323045678901000"}}',
    ),
    "bitstamp": (b'[{"date":"1767323045","tid":"7","amount":"0.005","type":"1","price":"61800.1"}]',),
    "okx": (
        b'{"code":"0","msg":"","data":[{"instId":"BTC-USDT","tradeId":"7","px":"61800.10","sz":"0.005",'
        b'"side":"sell","ts":"1767323045678"}]}',
    ),
    "bybit": (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"execId":"7","symbol":"BTCUSDT",'
        b'"price":"61800.1","size":"0.005","side":"Sell","time":"1767323045678"}]}}',
    ),
}
